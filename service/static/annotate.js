/** Draws boxes and labels over a frame, and blurs the faces in it. */

const NARROW = 480;
const TINY = 20; // pixels of the page: a label would be larger than such a face
const GAP = 4; // between a box and its label
// From this many people on, a label is only a sign and a number.
const CROWD = 5;
const CROWD_IF_NARROW = 3;
const BLUR_GROWS = 0.2; // share of the box on each side: hair, ears and chin identify people too
const BLUR_CELLS = 7; // cells across a blurred face

// The colours are distinct for colour-blind people too; line style and sign differ without colour.
const STYLES = {
  mask: { sign: "✓", words: "Mask", colour: "#00785a", ink: "#fff", dash: [] },
  no_mask: { sign: "×", words: "No mask", colour: "#c23700", ink: "#fff", dash: [14, 6] },
  uncertain: { sign: "?", words: "Uncertain", colour: "#f0b429", ink: "#1c1400", dash: [3, 5] },
};
const TENTATIVE = { colour: "#fff", ink: "#0008", dash: [] };

/**
 * "Mask 97 %"; never 100, which no estimate deserves. The number is the probability of the label
 * itself. There is none while a person's latest looks contradict the label. A mask that more
 * probably leaves nose or mouth bare than not is named with that probability.
 */
export function caption(face) {
  const worn = face.label === "no_mask" && face.incorrectly_worn >= 0.5;
  const words = worn ? "Mask worn wrong" : STYLES[face.label].words;
  const probability = worn ? face.incorrectly_worn : (face.probabilities[face.label] ?? 0);
  if (probability < 0.5) return words;
  return `${words} ${Math.min(99, Math.round(100 * probability))} %`;
}

/** Whether a face counts as a person; in a stream, one that was hardly seen does not yet. */
export const isPerson = ({ state }) => state !== "tentative";

/** In a stream the number stays with the person; otherwise it counts from the left. */
export const numberOf = ({ face, index }) => (face.track_id ?? index) + 1;

/** Where a whole picture lies on a surface, centred. */
export function fit(image, width, height) {
  const scale = Math.min(width / image.width, height / image.height);
  const left = (width - image.width * scale) / 2;
  const top = (height - image.height * scale) / 2;
  return { scale, left, top };
}

/**
 * Where the faces of an answer lie on a surface that shows the whole picture: in the surface's
 * pixels, sorted from left to right.
 * @param {{image: {width: number, height: number}, faces: object[]}} answer
 * @param {boolean} mirrored
 * @param {number} surfaceWidth
 * @param {number} surfaceHeight
 */
export function place({ image, faces }, mirrored, surfaceWidth, surfaceHeight) {
  const { scale, left, top } = fit(image, surfaceWidth, surfaceHeight);
  return faces
    .map((face) => {
      const { x, y, width, height } = face.box;
      const seenX = mirrored ? image.width - x - width : x;
      return {
        face,
        left: left + seenX * scale,
        top: top + y * scale,
        width: width * scale,
        height: height * scale,
      };
    })
    .sort((a, b) => a.left - b.left)
    .map((box, index) => ({ ...box, index }));
}

/**
 * Draw the boxes and their labels.
 * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
 * @param {ReturnType<typeof place>} placed
 * @param {{width: number, height: number}} surface
 * @param {number} hovered index of the face that the pointer is on, or -1
 * @returns {object[]} the labels: text and rectangle
 */
export function annotate(context, placed, surface, hovered = -1) {
  const large = Math.max(1, surface.width / 1000); // a saved picture can be larger than any screen
  const fontSize = (surface.width < NARROW ? 13 : 15) * large;
  context.font = `600 ${fontSize}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const box of placed) drawBox(context, box, large);
  // After all boxes, so that no line crosses a label.
  const written = labels(context, placed, surface, fontSize, hovered);
  for (const label of written) drawLabel(context, label);
  return written;
}

/**
 * Choose the text and place of each label, so that labels cover neither faces nor each other.
 * A face without a free place gets none until the pointer is on it. People without a mask choose
 * first; the others follow from left to right. A tentative face gets no label.
 */
function labels(context, placed, surface, fontSize, hovered) {
  const people = placed.filter(({ face }) => isPerson(face));
  const height = Math.round(fontSize * 1.6);
  const tiny = TINY * Math.max(1, surface.width / 1000);
  const written = [];

  /** The label of a face at its first free place. */
  function choose(box, candidates) {
    const others = [...placed.filter((each) => each !== box), ...written];
    for (const inside of [false, true]) {
      for (const text of candidates) {
        const width = context.measureText(text).width + fontSize;
        for (const spot of spots(box, width, height, surface, inside)) {
          const label = { ...STYLES[box.face.label], ...spot, text, width, height, fontSize };
          if (!others.some((other) => overlap(label, other))) return [label];
        }
      }
    }
    return [];
  }

  const urgency = ({ face }) => (face.label === "no_mask" ? 0 : 1);
  for (const box of people.toSorted((a, b) => urgency(a) - urgency(b))) {
    if (box.index === hovered || Math.min(box.width, box.height) < tiny) continue;
    written.push(...choose(box, texts(box, people.length, surface.width)));
  }
  const pointed = people.find(({ index }) => index === hovered);
  if (pointed) {
    // In full and above all others, whatever it covers.
    const style = STYLES[pointed.face.label];
    const text = `${style.sign} ${numberOf(pointed)} ${caption(pointed.face)}`;
    const width = context.measureText(text).width + fontSize;
    const [spot] = spots(pointed, width, height, surface, false);
    const within = spot ?? { left: pointed.left, top: pointed.top };
    written.push({ ...style, ...within, text, width, height, fontSize });
  }
  return written;
}

/** What a label may say, the best first. */
function texts(box, people, surfaceWidth) {
  const { sign } = STYLES[box.face.label];
  const long = caption(box.face);
  const short = `${sign} ${numberOf(box)}`;
  if (people < 2) return [`${sign} ${long}`];
  const crowd = surfaceWidth < NARROW ? CROWD_IF_NARROW : CROWD;
  return people < crowd ? [`${short} ${long}`, short] : [short];
}

/** The places for a label at a box, the best first: around it or, of a large face, at its edge. */
function spots(box, width, height, surface, inside) {
  const right = box.left + box.width;
  const bottom = box.top + box.height;
  const across = [box.left - 2, right + 2 - width].map((left) =>
    Math.max(0, Math.min(left, surface.width - width)),
  );
  const rows = inside
    ? [box.top + GAP, bottom - height - GAP]
    : [box.top - height - GAP, bottom + GAP];
  const above = rows.flatMap((top) => across.map((left) => ({ left, top })));
  const beside = [right + GAP, box.left - width - GAP].map((left) => ({ left, top: box.top }));
  const all = inside ? (box.height > 4 * height ? above : []) : [...above, ...beside];
  return all.filter(
    ({ left, top }) =>
      left >= 0 && top >= 0 && left + width <= surface.width && top + height <= surface.height,
  );
}

/** Whether two rectangles overlap or touch. */
function overlap(a, b) {
  const across = Math.max(a.left - b.left - b.width, b.left - a.left - a.width);
  const down = Math.max(a.top - b.top - b.height, b.top - a.top - a.height);
  return Math.max(across, down) < GAP / 2;
}

function drawBox(context, { face, left, top, width, height }, large) {
  const { colour, ink, dash } = isPerson(face) ? STYLES[face.label] : TENTATIVE;
  // Thinner around a small face, which the line would hide.
  const thickness = isPerson(face) ? Math.max(1, Math.min(3 * large, width / 12)) : large;
  context.beginPath();
  context.roundRect(left, top, width, height, Math.min(8 * large, width / 6));
  context.setLineDash([]);
  context.lineWidth = thickness * 1.6;
  context.strokeStyle = ink; // a rim, so that the line is visible on any picture
  context.stroke();
  context.setLineDash(dash.map((length) => (length * thickness) / 3));
  context.lineWidth = thickness;
  context.strokeStyle = colour;
  context.stroke();
}

function drawLabel(context, { text, left, top, width, height, colour, ink, fontSize }) {
  context.beginPath();
  context.roundRect(left, top, width, height, fontSize * 0.4);
  context.fillStyle = colour;
  context.fill();
  context.fillStyle = ink;
  context.fillText(text, left + fontSize / 2, top + height / 2 + 1);
}

/**
 * Paint an answer's frame, with the given boxes blurred beyond recognition.
 * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
 * @param {{answer: object, frame: CanvasImageSource}} shown
 * @param {{x: number, y: number, width: number, height: number}[]} covered
 * @param {boolean} mirrored
 * @param {number} width
 * @param {number} height
 */
export function paint(context, { answer: { image }, frame }, covered, mirrored, width, height) {
  const { scale, left, top } = fit(image, width, height);
  context.save();
  if (mirrored) {
    context.translate(width, 0);
    context.scale(-1, 1);
  }
  context.translate(left, top);
  context.scale(scale, scale); // from here on in pixels of the frame sent to the service
  context.drawImage(frame, 0, 0, image.width, image.height);
  for (const box of covered) cover(context, frame, image, box);
  context.restore();
}

/** Reduce a face to a few cells of colour, which cannot be undone. */
function cover(context, frame, image, box) {
  const left = Math.max(0, box.x - box.width * BLUR_GROWS);
  const top = Math.max(0, box.y - box.height * BLUR_GROWS);
  const width = Math.min(image.width, box.x + box.width * (1 + BLUR_GROWS)) - left;
  const height = Math.min(image.height, box.y + box.height * (1 + BLUR_GROWS)) - top;
  const detail = (frame.naturalWidth ?? frame.width) / image.width;
  const cells = new OffscreenCanvas(BLUR_CELLS, BLUR_CELLS);
  const few = cells.getContext("2d");
  few.imageSmoothingQuality = "high";
  const cut = [left, top, width, height].map((length) => length * detail);
  few.drawImage(frame, ...cut, 0, 0, BLUR_CELLS, BLUR_CELLS);
  context.save();
  context.beginPath();
  context.roundRect(left, top, width, height, Math.min(width, height) * 0.35);
  context.clip();
  context.imageSmoothingQuality = "high";
  context.drawImage(cells, left, top, width, height);
  context.restore();
}
