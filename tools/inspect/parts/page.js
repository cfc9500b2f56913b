// SPDX-License-Identifier: MIT
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const picture = document.getElementById('picture'), facts = document.getElementById('facts');
const size = {width: picture.viewBox.baseVal.width, height: picture.viewBox.baseVal.height};
let view = {x: 0, y: 0, scale: 1}; // scale: pixels of the screen for one of the picture

// ---- moving and zooming ----

function show() {
  const w = innerWidth / view.scale, h = innerHeight / view.scale;
  view.x = w >= size.width ? (size.width - w) / 2 : Math.min(Math.max(view.x, 0), size.width - w);
  view.y = Math.min(Math.max(view.y, 0), Math.max(size.height - h, 0));
  picture.setAttribute('viewBox', [view.x, view.y, w, h].join(' '));
  picture.setAttribute('preserveAspectRatio', 'xMinYMin meet');
}

// What is at (x, y) of the screen stays there.
function zoom(factor, x, y) {
  const before = view.scale, least = Math.min(innerWidth / size.width, innerHeight / size.height) / 2;
  view.scale = Math.min(Math.max(view.scale * factor, least), 24);
  view.x += x / before - x / view.scale;
  view.y += y / before - y / view.scale;
  show();
}

function zoomMiddle(factor) { zoom(factor, innerWidth / 2, innerHeight / 2); }

function move(dx, dy) {
  view.x += dx / view.scale;
  view.y += dy / view.scale;
  show();
}

function fit() {
  view = {x: 0, y: 0, scale: innerWidth / size.width};
  show();
}

// ---- what is under the pointer ----

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
function bytes(n) {
  let unit = 0;
  for (; n >= 1024 && unit + 1 < units.length; unit++) n /= 1024;
  return (Number.isInteger(n) ? n : n.toFixed(1)) + ' ' + units[unit];
}

const states = [[1, 'resident'], [2, 'swapped'], [4, 'dirty'], [8, 'of a file or shared memory'],
                [16, 'mapped elsewhere too'], [32, 'on a huge page'], [64, 'guard marker'], [128, 'zero page']];
function words(state) {
  return states.filter(s => state & s[0]).map(s => s[1]).join(', ') || 'not there';
}

// The cell at a place of the picture: [run, how far into it], or nothing. A group's cells are gone through in the order in
// which they were laid.
function cellAt(x, y) {
  const group = data.groups.find(g => y >= g.y && y < g.y + g.rows * data.cell);
  const column = Math.floor((x - data.margin) / data.cell);
  if (!group || column < 0 || column >= data.columns) return;
  const row = Math.floor((y - group.y) / data.cell);
  let at = 0, line = 0;
  for (const run of group.runs) {
    const width = run.fold ? data.fold : 1;
    for (let left = run.count; left > 0;) {
      if (at + width > data.columns) { at = 0; line++; }
      const part = run.fold ? 1 : Math.min(left, data.columns - at);
      if (line === row && column >= at && column < at + part * width)
        return [run, run.count - left + (run.fold ? 0 : column - at)];
      at += part * width;
      left -= part;
    }
    if (line > row) return;
  }
}

const sums = ['resident', 'dirty', 'shared', 'huge', 'swapped', 'guard'];
function tell(run, into) {
  const start = BigInt('0x' + run.start) + BigInt(into) * BigInt(data.step);
  const what = run.fold ? 'folded' : data.step > data.page ? 'pages' : 'page';
  const also = run.also & ~run.state;
  const here = what + ' at ' + start.toString(16) + (run.fold ? ', ' + bytes(Number(BigInt('0x' + run.size))) : '') + ': ' +
    words(run.state) + (also ? '; and some ' + words(also) : '');
  const m = data.mappings[run.mapping];
  if (!m) return 'nothing is mapped here\n' + here;
  const owner = (m.owner || '') + (m.objects ? ', ' + m.objects + ' objects' : '');
  const length = Number(BigInt('0x' + m.end) - BigInt('0x' + m.start));
  return [[owner, m.name].filter(Boolean).join('\n') || 'anonymous',
    m.start + '-' + m.end + '  ' + m.permissions + '  ' + bytes(length) + (m.offset ? '  at file offset ' + m.offset : ''),
    sums.filter(s => m[s]).map(s => s + ' ' + bytes(m[s])).join(', ') || 'nothing of it in memory',
    '', here].join('\n');
}

function point(event) {
  const hit = cellAt(view.x + event.clientX / view.scale, view.y + event.clientY / view.scale);
  facts.style.display = hit ? 'block' : 'none';
  if (!hit) return;
  facts.textContent = tell(...hit);
  const box = facts.getBoundingClientRect(), below = event.clientY + 18;
  facts.style.left = Math.max(0, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + 'px';
  facts.style.top = (below + box.height > innerHeight ? event.clientY - box.height - 10 : below) + 'px';
}

// ---- the pointer, the wheel, the keys ----

let drag = null;
picture.addEventListener('pointerdown', event => {
  drag = {x: event.clientX, y: event.clientY};
  picture.setPointerCapture(event.pointerId);
  picture.classList.add('drag');
});
picture.addEventListener('pointerup', () => { drag = null; picture.classList.remove('drag'); });
picture.addEventListener('pointermove', event => {
  if (!drag) return point(event);
  move(drag.x - event.clientX, drag.y - event.clientY);
  drag = {x: event.clientX, y: event.clientY};
  facts.style.display = 'none';
});
picture.addEventListener('pointerleave', () => { facts.style.display = 'none'; });
picture.addEventListener('dblclick', event => zoom(2, event.clientX, event.clientY));
picture.addEventListener('wheel', event => { // two fingers drawn apart are Ctrl and the wheel, too
  event.preventDefault();
  const line = event.deltaMode === 0 ? 1 : 40;
  if (event.ctrlKey) zoom(Math.exp(-event.deltaY * line / 400), event.clientX, event.clientY);
  else if (event.shiftKey) move(event.deltaY * line, 0);
  else move(event.deltaX * line, event.deltaY * line);
  point(event);
}, {passive: false});
document.getElementById('in').onclick = () => zoomMiddle(1.5);
document.getElementById('out').onclick = () => zoomMiddle(1 / 1.5);
document.getElementById('all').onclick = fit;
const keys = {
  '+': () => zoomMiddle(1.5), '=': () => zoomMiddle(1.5), '-': () => zoomMiddle(1 / 1.5), '0': fit,
  ArrowLeft: () => move(-80, 0), ArrowRight: () => move(80, 0), ArrowUp: () => move(0, -80), ArrowDown: () => move(0, 80),
  PageUp: () => move(0, -0.9 * innerHeight), PageDown: () => move(0, 0.9 * innerHeight),
  Home: () => move(0, -size.height * view.scale), End: () => move(0, size.height * view.scale),
};
addEventListener('keydown', event => {
  if (event.altKey || event.ctrlKey || event.metaKey || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
addEventListener('resize', show);
fit();
