/** The share of people with a mask over the last minutes; uncertain ones do not count. */

const BIN_MS = 5000;
const BINS = 60;
// In units of the chart's viewBox; the line stays clear of the edges.
const WIDTH = 300;
const TOP = 4;
const BOTTOM = 96;

const byId = (id) => document.getElementById(id);

/** Sums over the answers of each time span: people with and without a mask; the newest last. */
let bins = [];
let source = "";

/**
 * Start to record a source; the data of another source is dropped.
 * @param {string} name
 */
export function begin(name) {
  if (name !== source) bins = [];
  source = name;
  byId("compliance").hidden = false;
  draw(Date.now());
}

/**
 * Count the people of one answer.
 * @param {{mask: number, no_mask: number}} summary
 * @param {number} now milliseconds, by any clock
 */
export function record({ mask, no_mask: without }, now = Date.now()) {
  const index = Math.floor(now / BIN_MS);
  if (bins.at(-1)?.index !== index) bins.push({ index, answers: 0, mask: 0, without: 0 });
  bins = bins.filter((bin) => bin.index > index - BINS);
  const bin = bins.at(-1);
  bin.answers += 1;
  bin.mask += mask;
  bin.without += without;
  draw(now);
}

/** The share with a mask; spans are averaged, so those with more answers do not count more. */
function share(some) {
  const mean = (which) => some.reduce((sum, bin) => sum + bin[which] / bin.answers, 0);
  const [mask, without] = [mean("mask"), mean("without")];
  return mask + without > 0 ? mask / (mask + without) : null;
}

function draw(now) {
  const newest = Math.floor(now / BIN_MS);
  let path = "";
  let before = null;
  for (const bin of bins) {
    const level = share([bin]);
    if (level === null) continue;
    const x = WIDTH * (1 - (newest - bin.index) / (BINS - 1));
    const y = BOTTOM - (BOTTOM - TOP) * level;
    const point = `${x.toFixed(1)} ${y.toFixed(1)}`;
    // Spans without people leave a gap; a single span is a dot.
    path += bin.index - 1 === before ? `L${point}` : `M${point}h.01`;
    before = bin.index;
  }
  byId("line").setAttribute("d", path);
  const mean = share(bins);
  const words = mean === null ? "–" : `${Math.round(100 * mean)} %`;
  byId("share").textContent = words;
  byId("chart").firstElementChild.setAttribute("aria-label", inWords(words));
}

function inWords(mean) {
  if (mean === "–") return "No one was checked in the last 5 minutes.";
  const last = bins.findLast((bin) => share([bin]) !== null);
  return `With a mask: ${mean} over the last 5 minutes, ${Math.round(100 * share([last]))} % most recently.`;
}
