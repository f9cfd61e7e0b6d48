/** Draws boxes and labels over a frame, and blurs the faces in it. */

const NARROW = 480;
const BLUR_GROWS = 0.2; // share of the box on each side: hair, ears and chin identify people too
const BLUR_CELLS = 7; // cells across a blurred face

// The colours are distinct for colour-blind people too; line style and sign differ without colour.
const STYLES = {
  mask: { sign: "✓", words: "Mask", colour: "#00785a", ink: "#fff", dash: [] },
  no_mask: { sign: "×", words: "No mask", colour: "#c23700", ink: "#fff", dash: [14, 6] },
  uncertain: { sign: "?", words: "Uncertain", colour: "#f0b429", ink: "#1c1400", dash: [3, 5] },
};

/** "Mask 97 %"; at most 99, as an estimate is never certain. */
export function caption(face) {
  const { words } = STYLES[face.label];
  if (face.label === "uncertain") return words;
  return `${words} ${Math.min(99, Math.round(100 * face.probabilities[face.label]))} %`;
}

/** In a stream the number stays with the person; otherwise it counts from the left. */
export const numberOf = ({ face, index }) => (face.track_id ?? index) + 1;

/** Where a whole picture lies on a surface, centred. */
function fit(image, width, height) {
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
 * @param {number} surfaceWidth
 */
export function annotate(context, placed, surfaceWidth) {
  const large = Math.max(1, surfaceWidth / 1000); // a saved picture can be larger than any screen
  const fontSize = (surfaceWidth < NARROW ? 13 : 15) * large;
  context.font = `600 ${fontSize}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const box of placed) drawBox(context, box, large);
  // After all boxes, so that no line crosses a label; the most confident face's is on top.
  for (const label of labels(context, placed, surfaceWidth, fontSize)) drawLabel(context, label);
}

/** The labels' texts and places; only numbers if full labels would overlap. */
function labels(context, placed, surfaceWidth, fontSize) {
  const surestLast = (a, b) => a.face.detection_confidence - b.face.detection_confidence;
  const lay = (words) =>
    placed.toSorted(surestLast).map((box) => {
      const { sign, colour, ink } = STYLES[box.face.label];
      const text = `${sign} ${words(box)}`;
      const width = context.measureText(text).width + fontSize;
      const height = Math.round(fontSize * 1.6);
      const left = Math.max(0, Math.min(box.left - 2, surfaceWidth - width));
      const top = Math.max(0, box.top - height - 4);
      return { text, left, top, width, height, colour, ink, fontSize };
    });
  if (placed.length < 2) return lay(({ face }) => caption(face));
  const long = lay((box) => `${numberOf(box)} ${caption(box.face)}`);
  const hidden = long.some((a, i) => long.slice(i + 1).some((b) => overlap(a, b)));
  return hidden ? lay(numberOf) : long;
}

/** Whether two rectangles overlap. */
function overlap(a, b) {
  const apart = a.left + a.width < b.left || b.left + b.width < a.left;
  return !apart && a.top + a.height >= b.top && b.top + b.height >= a.top;
}

function drawBox(context, { face, left, top, width, height }, large) {
  const { colour, ink, dash } = STYLES[face.label];
  context.beginPath();
  context.roundRect(left, top, width, height, Math.min(8 * large, width / 6));
  context.setLineDash([]);
  context.lineWidth = 5 * large;
  context.strokeStyle = ink; // a rim, so that the line is visible on any picture
  context.stroke();
  context.setLineDash(dash.map((length) => length * large));
  context.lineWidth = 3 * large;
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
