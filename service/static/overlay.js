/** Draws boxes and labels over what is on the stage. */

const NARROW_STAGE = 480;

// The colours differ for colour-blind eyes too, and the line and the sign differ without any.
const STYLES = {
  mask: { sign: "✓", words: "Mask", colour: "#00785a", ink: "#fff", dash: [] },
  no_mask: { sign: "×", words: "No mask", colour: "#c23700", ink: "#fff", dash: [14, 6] },
  uncertain: { sign: "?", words: "Uncertain", colour: "#f0b429", ink: "#1c1400", dash: [3, 5] },
};

/** "Mask 97 %"; never 100, which no estimate deserves. */
export function caption(face) {
  const { words } = STYLES[face.label];
  if (face.label === "uncertain") return words;
  return `${words} ${Math.min(99, Math.round(100 * face.probabilities[face.label]))} %`;
}

/**
 * Where the faces of an answer lie on a stage that shows the whole picture, centred. In CSS pixels
 * of the stage, from left to right.
 * @param {{image: {width: number, height: number}, faces: object[]}} answer
 * @param {boolean} mirrored
 * @param {number} stageWidth
 * @param {number} stageHeight
 */
export function place({ image, faces }, mirrored, stageWidth, stageHeight) {
  const scale = Math.min(stageWidth / image.width, stageHeight / image.height);
  const left = (stageWidth - image.width * scale) / 2;
  const top = (stageHeight - image.height * scale) / 2;
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
    .sort((a, b) => a.left - b.left);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ReturnType<typeof place>} placed
 */
export function draw(canvas, placed) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const density = window.devicePixelRatio;
  // Setting the size also clears the canvas.
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const context = canvas.getContext("2d");
  context.scale(density, density);
  const fontSize = width < NARROW_STAGE ? 13 : 15;
  context.font = `600 ${fontSize}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const box of placed) drawBox(context, box);
  // After all boxes, so that no line crosses a label; the surest face's comes out on top.
  const surestLast = (a, b) => a.face.detection_confidence - b.face.detection_confidence;
  for (const box of placed.toSorted(surestLast)) drawLabel(context, box, width, fontSize);
  canvas.dataset.boxes = placed.map(inPixels).join("; ");
}

/** What was drawn, for those who cannot see it: "left top width height". */
function inPixels({ left, top, width, height }) {
  return [left, top, width, height].map(Math.round).join(" ");
}

function drawBox(context, { face, left, top, width, height }) {
  const { colour, ink, dash } = STYLES[face.label];
  context.beginPath();
  context.roundRect(left, top, width, height, Math.min(8, width / 6));
  context.setLineDash([]);
  context.lineWidth = 5;
  context.strokeStyle = ink; // a rim, so that the line stands out from any picture
  context.stroke();
  context.setLineDash(dash);
  context.lineWidth = 3;
  context.strokeStyle = colour;
  context.stroke();
}

function drawLabel(context, { face, left, top }, stageWidth, fontSize) {
  const { sign, colour, ink } = STYLES[face.label];
  const text = `${sign} ${caption(face)}`;
  const padding = fontSize / 2;
  const height = Math.round(fontSize * 1.6);
  const width = context.measureText(text).width + 2 * padding;
  const x = Math.max(0, Math.min(left - 2, stageWidth - width));
  const y = Math.max(0, top - height - 4);
  context.beginPath();
  context.roundRect(x, y, width, height, 6);
  context.fillStyle = colour;
  context.fill();
  context.fillStyle = ink;
  context.fillText(text, x + padding, y + height / 2 + 1);
}
