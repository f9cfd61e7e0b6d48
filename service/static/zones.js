/**
 * What is left out of judging: areas of the picture, drawn with the mouse or a finger, and small
 * faces. Kept in the browser for each source.
 */

import { keep, recall } from "./settings.js";

const MOST = 20; // that the service takes
const SMALLEST_SIDE = 0.02; // of an area, as a fraction of the picture; less is a slip

const byId = (id) => document.getElementById(id);
const stage = byId("stage");
const mark = byId("mark");
const smallest = byId("smallest");

/** @typedef {{x: number, y: number, width: number, height: number}} Zone in fractions, 0 to 1 */
/** @type {Zone[]} */
let zones = [];
/** @type {Zone | null} The one that is being drawn. */
let draft = null;
let source = "";

/**
 * Show what is left out of a source.
 * @param {string} name the source; "" for nothing
 */
export function begin(name) {
  source = name;
  stopMarking();
  let kept = {};
  try {
    kept = JSON.parse(recall(nameOf(name)) || "{}");
  } catch {
    // Something else wrote it.
  }
  zones = name ? (kept.zones ?? []) : [];
  smallest.value = name ? (kept.smallest ?? "") : "";
  mark.disabled = smallest.disabled = !name;
  list();
}

const nameOf = (name) => `left out of ${name}`;

/** The parameters for the service, such as "?smallest_face=40&ignore=0,0,0.5,1", or "". */
export function query() {
  const parameters = [];
  if (smallest.value) parameters.push(`smallest_face=${smallest.value}`);
  const text = ({ x, y, width, height }) => [x, y, width, height].map((v) => v.toFixed(4)).join();
  for (const zone of zones) parameters.push(`ignore=${text(zone)}`);
  return parameters.length ? `?${parameters.join("&")}` : "";
}

/**
 * Let people draw areas and remove them.
 * @param {() => {left: number, top: number, width: number, height: number, mirrored: boolean}} area
 *   where the page shows the picture, in pixels of the window
 * @param {() => void} redraw
 * @param {() => void} changed
 */
export function enable(area, redraw, changed) {
  /** @type {{x: number, y: number} | null} */
  let start = null;

  function edited() {
    keep(nameOf(source), JSON.stringify({ zones, smallest: smallest.value }));
    list();
    redraw();
    changed();
  }

  function at({ clientX, clientY }) {
    const { left, top, width, height, mirrored } = area();
    const [x, y] = [(clientX - left) / width, (clientY - top) / height].map((v) =>
      Math.min(1, Math.max(0, v)),
    );
    return { x: mirrored ? 1 - x : x, y };
  }

  function drag(event) {
    if (!start) return;
    const end = at(event);
    const [x, y] = [Math.min(start.x, end.x), Math.min(start.y, end.y)];
    draft = { x, y, width: Math.abs(start.x - end.x), height: Math.abs(start.y - end.y) };
    redraw();
  }

  mark.addEventListener("click", () => {
    if (isMarking()) stopMarking();
    else startMarking();
    redraw();
  });
  stage.addEventListener("pointerdown", (event) => {
    if (!isMarking()) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    start = at(event);
  });
  stage.addEventListener("pointermove", drag);
  stage.addEventListener("pointerup", (event) => {
    if (!start) return;
    drag(event);
    start = null;
    const drawn = draft;
    stopMarking();
    if (Math.min(drawn.width, drawn.height) < SMALLEST_SIDE) {
      redraw();
      return;
    }
    zones = [...zones, drawn];
    edited();
  });
  stage.addEventListener("pointercancel", () => {
    start = draft = null;
    redraw();
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape" || !isMarking()) return;
    start = null;
    stopMarking();
    redraw();
  });
  smallest.addEventListener("change", () => {
    if (smallest.checkValidity()) edited();
    else smallest.reportValidity();
  });
  byId("zones").addEventListener("click", ({ target }) => {
    if (!target.dataset.index) return;
    zones = zones.filter((_, index) => index !== Number(target.dataset.index));
    edited();
    mark.focus(); // the button that was focused is gone
  });
}

const isMarking = () => stage.classList.contains("marking");

function startMarking() {
  stage.classList.add("marking");
  mark.setAttribute("aria-pressed", "true");
  byId("mark-hint").hidden = false;
  stage.scrollIntoView({ block: "nearest" }); // on a phone it is far above
}

function stopMarking() {
  draft = null;
  stage.classList.remove("marking");
  mark.setAttribute("aria-pressed", "false");
  byId("mark-hint").hidden = true;
}

function list() {
  mark.disabled = !source || zones.length >= MOST;
  byId("zones").replaceChildren(
    ...zones.map((_, index) => {
      const item = document.createElement("li");
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = "Remove";
      remove.dataset.index = index;
      remove.setAttribute("aria-label", `Remove area ${index + 1}`);
      item.append(`Area ${index + 1}`, remove);
      return item;
    }),
  );
}

/**
 * Draw the areas over the picture.
 * @param {CanvasRenderingContext2D} context
 * @param {{left: number, top: number, width: number, height: number, mirrored: boolean}} area
 *   where the picture lies on the context
 */
export function draw(context, { left, top, width, height, mirrored }) {
  context.save();
  context.font = "600 13px system-ui, sans-serif";
  context.textBaseline = "top";
  for (const [index, zone] of [...zones, ...(draft ? [draft] : [])].entries()) {
    const x = left + width * (mirrored ? 1 - zone.x - zone.width : zone.x);
    const rectangle = [x, top + height * zone.y, width * zone.width, height * zone.height];
    context.fillStyle = "rgb(11 15 14 / 55%)";
    context.fillRect(...rectangle);
    context.setLineDash([6, 4]);
    context.strokeStyle = "#fff";
    context.strokeRect(...rectangle);
    context.fillStyle = "#fff";
    context.fillText(`Ignored ${index + 1}`, x + 6, rectangle[1] + 6, rectangle[2] - 12);
  }
  context.restore();
}
