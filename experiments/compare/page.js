"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const number = (text) => (text === "" || text == null ? NaN : Number(text));

  // ---- tooltips: metric definitions on hover and on keyboard focus
  const tip = document.getElementById("tip");
  function showTip(text, box) {
    tip.textContent = text;
    tip.hidden = false;
    const left = Math.min(Math.max(8, box.left), innerWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
  }
  const hideTip = () => { tip.hidden = true; };
  for (const target of all("[data-tip]")) {
    target.setAttribute("aria-describedby", "tip");
    for (const event of ["mouseenter", "focus"]) {
      target.addEventListener(event, () => showTip(target.dataset.tip, target.getBoundingClientRect()));
    }
    for (const event of ["mouseleave", "blur"]) target.addEventListener(event, hideTip);
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  addEventListener("scroll", hideTip, { passive: true });

  // ---- a sign that something lies beyond the right edge
  function markCut() {
    for (const box of all(".scroll, .strip")) {
      box.classList.toggle("cut", box.scrollWidth - box.clientWidth - box.scrollLeft > 1);
      const hint = box.previousElementSibling;
      if (hint?.classList.contains("hint")) hint.hidden = box.scrollWidth - box.clientWidth <= 1;
    }
  }
  addEventListener("scroll", markCut, { passive: true, capture: true });

  // ---- sorting: numbers by value, cells without one always last
  function sortBy(table, column, direction) {
    const body = table.tBodies[0];
    const isText = "text" in one(".sort", table.tHead.rows[0].cells[column]).dataset;
    const sign = direction === "descending" ? -1 : 1;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [a, b].map((row) => row.cells[column].dataset.value ?? "");
      if (isText) return sign * x.localeCompare(y, undefined, { numeric: true });
      const [p, q] = [number(x), number(y)];
      return Number.isNaN(p) || Number.isNaN(q) ? Number.isNaN(p) - Number.isNaN(q) : sign * (p - q);
    });
    body.append(...rows);
    for (const [index, cell] of [...table.tHead.rows[0].cells].entries()) {
      if (index === column) cell.setAttribute("aria-sort", direction);
      else cell.removeAttribute("aria-sort");
    }
  }
  for (const table of all("table.results")) {
    for (const button of all(".sort", table)) {
      const head = button.closest("th");
      button.addEventListener("click", () => {
        const first = button.dataset.first || "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        sortBy(table, head.cellIndex, head.getAttribute("aria-sort") === first ? other : first);
      });
    }
  }

  // ---- one protocol at a time
  const choices = all("[data-protocol]");
  function choose(index) {
    for (const button of choices) button.setAttribute("aria-pressed", String(button.dataset.protocol === index));
    for (const part of all(".protocol")) part.hidden = part.dataset.table !== index;
    drawAll();
  }
  for (const button of choices) button.addEventListener("click", () => choose(button.dataset.protocol));
  for (const select of all("[data-heat]")) {
    select.addEventListener("change", () => {
      for (const grid of all("[data-grid]", select.closest("section"))) grid.hidden = grid.dataset.grid !== select.value;
    });
  }

  // ---- charts
  const SVG = "http://www.w3.org/2000/svg";
  function draw(parent, name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }
  function short(value) {
    const size = Math.abs(value);
    if (size >= 1e9) return `${+(value / 1e9).toPrecision(3)} G`;
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
    return String(+value.toPrecision(4));
  }
  function ticks(low, high, count) {
    const step = 10 ** Math.floor(Math.log10((high - low) / count));
    const nice = [1, 2, 5, 10].map((n) => n * step).find((n) => (high - low) / n <= count) || step;
    const found = [];
    for (let k = Math.ceil(low / nice - 1e-9); k * nice <= high + nice * 1e-9; k++) found.push(k * nice);
    return found;
  }
  function logTicks(low, high) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const n of [1, 2, 5]) {
        const value = n * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) found.push([value, n]);
      }
    }
    const kept = found.length > 6 && found.filter(([, n]) => n === 1).length > 1 ? found.filter(([, n]) => n === 1) : found;
    return kept.map(([value]) => value);
  }
  function frame(holder, name, height) {
    const width = Math.max(280, holder.clientWidth);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", name);
    holder.replaceChildren(svg, saving(svg, name));
    return { svg, width };
  }
  function empty(holder, text) {
    const line = document.createElement("p");
    line.className = "empty";
    line.textContent = text;
    holder.replaceChildren(line);
  }

  function scatter(holder) {
    const table = data.tables[holder.dataset.scatter];
    const section = holder.closest("section");
    const quality = table.metrics.find((metric) => metric.name === one("[data-y]", section).value);
    const choice = one("[data-x]", section);
    const cost = choice.value;
    const costName = choice.selectedOptions.length ? choice.selectedOptions[0].textContent : "cost";
    const points = quality ? table.rows.filter((row) => row.cells[quality.name] && row.costs[cost] != null) : [];
    const positive = points.filter((row) => row.costs[cost] > 0);
    if (!points.length) return empty(holder, `No record says its ${costName}.`);
    const small = holder.clientWidth < 560;
    const height = small ? 340 : 420;
    const { svg, width } = frame(holder, `${quality.column} against ${costName}`, height);
    const zero = points.length > positive.length; // 0 has no place on a logarithmic axis: a place of its own on the left
    const box = { left: 56, right: width - 16, top: 18, bottom: height - 48 };
    const start = box.left + (zero ? 64 : 18);
    const costs = positive.length ? positive.map((row) => row.costs[cost]) : [1];
    let [low, high] = [Math.min(...costs), Math.max(...costs)];
    if (high / low < 4) [low, high] = [low / 2, high * 2];
    const x = (v) => (v > 0 ? start + ((box.right - 24 - start) * Math.log(v / low)) / Math.log(high / low) : box.left + 26);
    const ys = points.flatMap((row) => row.cells[quality.name].filter((v) => v != null));
    let [bottom, top] = [Math.min(...ys), Math.max(...ys)];
    const margin = (top - bottom || Math.abs(top) || 1) * 0.1;
    [bottom, top] = [bottom - margin, top + margin];
    const y = (v) => box.bottom - ((box.bottom - box.top) * (v - bottom)) / (top - bottom);
    for (const v of ticks(bottom, top, 6)) {
      draw(svg, "line", { x1: box.left, x2: box.right, y1: y(v), y2: y(v), class: "grid" });
      draw(svg, "text", { x: box.left - 8, y: y(v) + 4, "text-anchor": "end" }, short(v));
    }
    draw(svg, "line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "axis" });
    if (positive.length) {
      for (const v of logTicks(low, high)) {
        draw(svg, "line", { x1: x(v), x2: x(v), y1: box.bottom, y2: box.bottom + 5, class: "axis" });
        draw(svg, "text", { x: x(v), y: box.bottom + 20, "text-anchor": "middle" }, short(v));
      }
    }
    if (zero) draw(svg, "text", { x: x(0), y: box.bottom + 20, "text-anchor": "middle" }, "none");
    const better = { true: ", higher is better", false: ", lower is better" }[quality.higher] || "";
    draw(svg, "text", { x: box.left, y: 10 }, `${quality.column}${better}`);
    draw(svg, "text", { x: box.right, y: height - 8, "text-anchor": "end" }, `${costName}, lower is better${positive.length > 1 ? ", logarithmic" : ""}`);

    const sign = quality.higher ? 1 : -1;
    const front = [];
    for (const row of [...points].sort((a, b) => a.costs[cost] - b.costs[cost] || sign * (b.cells[quality.name][0] - a.cells[quality.name][0]))) {
      if (!front.length || sign * (row.cells[quality.name][0] - front.at(-1).cells[quality.name][0]) > 0) front.push(row);
    }
    if (front.length > 1 && quality.higher != null) {
      const steps = front.map((row, i) => `${i ? `H${x(row.costs[cost])} V` : `M${x(row.costs[cost])} `}${y(row.cells[quality.name][0])}`);
      draw(svg, "path", { d: steps.join(" "), class: "front" });
    }
    const taken = points.map((row) => {
      const [cx, cy] = [x(row.costs[cost]), y(row.cells[quality.name][0])];
      return [cx - 7, cy - 7, cx + 7, cy + 7];
    });
    for (const row of points) {
      const [mean, lowEnd, highEnd] = row.cells[quality.name];
      const [cx, cy] = [x(row.costs[cost]), y(mean)];
      const group = draw(svg, "g", { class: `c${row.colour}` });
      if (lowEnd != null) draw(group, "line", { x1: cx, x2: cx, y1: y(lowEnd), y2: y(highEnd), class: "whisker" });
      const dot = draw(group, "circle", { cx, cy, r: 6, tabindex: 0 });
      const words = `${row.label}\n${quality.column} ${short(mean)}${lowEnd == null ? "" : ` (${short(lowEnd)} – ${short(highEnd)})`}\n${costName} ${short(row.costs[cost])}`;
      dot.setAttribute("role", "img");
      dot.setAttribute("aria-label", words.replaceAll("\n", ", "));
      for (const event of ["mouseenter", "focus"]) dot.addEventListener(event, () => showTip(words, dot.getBoundingClientRect()));
      for (const event of ["mouseleave", "blur"]) dot.addEventListener(event, hideTip);
      const label = draw(svg, "text", { class: "label" }, row.label);
      const size = label.getComputedTextLength();
      const places = [[10, 4], [-10 - size, 4], [-size / 2, -12], [-size / 2, 22], [10, -10], [10, 18], [-10 - size, -10], [-10 - size, 18]];
      const fits = ([dx, dy]) => {
        const spot = [cx + dx, cy + dy - 12, cx + dx + size, cy + dy + 3];
        const inside = spot[0] >= box.left && spot[2] <= width && spot[1] >= 12 && spot[3] <= box.bottom;
        return inside && taken.every((t) => spot[2] < t[0] || spot[0] > t[2] || spot[3] < t[1] || spot[1] > t[3]) ? spot : null;
      };
      const place = places.find(fits);
      if (!place) { label.remove(); continue; } // the name is in the tooltip and in the table
      taken.push(fits(place));
      label.setAttribute("x", cx + place[0]);
      label.setAttribute("y", cy + place[1]);
    }
  }

  const hiddenRuns = new Set();
  const keySelect = one("[data-key]");
  if (keySelect) {
    const keys = [...new Set(data.runs.flatMap((run) => Object.keys(run.curves)))];
    const order = (key) => (key.startsWith("val/") ? 0 : key.startsWith("train/") ? 1 : 2);
    keys.sort((a, b) => order(a) - order(b) || a.localeCompare(b));
    for (const key of keys) keySelect.append(new Option(key, key));
    const first = keys.find((key) => data.headline && key.startsWith(data.headline)) || keys[0];
    if (first) keySelect.value = first;
  }
  function smoothed(points) { // exponential mean whose start is not drawn towards 0
    let [sum, weight] = [0, 0];
    return points.map(([x, y]) => {
      [sum, weight] = [0.9 * sum + 0.1 * y, 0.9 * weight + 0.1];
      return [x, sum / weight];
    });
  }
  function curves(holder) {
    const key = keySelect.value;
    const hours = one("[data-axis]")?.value === "hours";
    const axis = hours ? "core-hours" : "images seen";
    const withKey = data.runs.map((run, index) => ({ ...run, index })).filter((run) => run.curves[key] && (!hours || run.hours));
    const legend = one("[data-legend]");
    legend.replaceChildren(...withKey.map((run) => {
      const button = document.createElement("button");
      const [dot, last] = [document.createElement("span"), document.createElement("output")];
      dot.className = `dot c${run.colour}`;
      last.textContent = short(run.curves[key].at(-1)[1]);
      button.type = "button";
      button.append(dot, run.label, last);
      button.setAttribute("aria-pressed", String(!hiddenRuns.has(run.index)));
      button.addEventListener("click", () => {
        if (!hiddenRuns.delete(run.index)) hiddenRuns.add(run.index);
        curves(holder);
        legend.children[withKey.findIndex((r) => r.index === run.index)].focus();
      });
      return button;
    }));
    const shown = withKey.filter((run) => !hiddenRuns.has(run.index));
    if (!shown.length) return empty(holder, withKey.length ? "All runs are hidden." : "No run logged a curve on images_seen.");
    const placed = (run) => (hours ? run.curves[key].map(([x, y]) => [x * run.hours, y]) : run.curves[key]);
    const lines = shown.map((run) => ({ ...run, points: one("[data-smooth]").checked ? smoothed(placed(run)) : placed(run) }));
    const height = holder.clientWidth < 560 ? 300 : 380;
    const ends = lines.map((run) => `${run.label} ends at ${short(run.points.at(-1)[1])}`);
    const { svg, width } = frame(holder, `${key} over ${axis}. ${ends.join("; ")}`, height);
    const box = { left: 60, right: width - 16, top: 20, bottom: height - 46 };
    const flat = lines.flatMap((run) => run.points);
    let [left, right] = [Math.min(...flat.map((p) => p[0])), Math.max(...flat.map((p) => p[0]))];
    if (left === right) [left, right] = [0, right * 2 || 1];
    let [bottom, top] = [Math.min(...flat.map((p) => p[1])), Math.max(...flat.map((p) => p[1]))];
    const margin = (top - bottom || Math.abs(top) || 1) * 0.06;
    [bottom, top] = [bottom - margin, top + margin];
    const x = (v) => box.left + ((box.right - box.left) * (v - left)) / (right - left);
    const y = (v) => box.bottom - ((box.bottom - box.top) * (v - bottom)) / (top - bottom);
    for (const v of ticks(bottom, top, 6)) {
      draw(svg, "line", { x1: box.left, x2: box.right, y1: y(v), y2: y(v), class: "grid" });
      draw(svg, "text", { x: box.left - 8, y: y(v) + 4, "text-anchor": "end" }, short(v));
    }
    draw(svg, "line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "axis" });
    for (const v of ticks(left, right, width < 560 ? 4 : 8)) {
      draw(svg, "text", { x: x(v), y: box.bottom + 20, "text-anchor": "middle" }, short(v));
    }
    draw(svg, "text", { x: box.left, y: 10 }, key);
    draw(svg, "text", { x: box.right, y: height - 6, "text-anchor": "end" }, axis);
    for (const run of lines) {
      const group = draw(svg, "g", { class: `c${run.colour}` });
      draw(group, "path", { class: "curve", d: run.points.map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("") });
      const end = run.points.at(-1);
      if (run.points.length < 40) for (const p of run.points) draw(group, "circle", { cx: x(p[0]), cy: y(p[1]), r: 3 });
      else draw(group, "circle", { cx: x(end[0]), cy: y(end[1]), r: 4 });
    }
    const cursor = draw(svg, "line", { y1: box.top, y2: box.bottom, class: "axis", visibility: "hidden" });
    svg.addEventListener("pointermove", (event) => {
      const rect = svg.getBoundingClientRect();
      const at = left + ((right - left) * (((event.clientX - rect.left) * width) / rect.width - box.left)) / (box.right - box.left);
      const nearest = (run) => run.points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
      const words = lines.map((run) => `${run.label}  ${short(nearest(run)[1])}`);
      cursor.setAttribute("x1", x(nearest(lines[0])[0]));
      cursor.setAttribute("x2", x(nearest(lines[0])[0]));
      cursor.setAttribute("visibility", "visible");
      showTip([`${short(nearest(lines[0])[0])} ${axis}`, ...words].join("\n"), new DOMRect(event.clientX + 14, event.clientY, 0, 0));
    });
    svg.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); hideTip(); });
  }
  function drawAll() {
    markCut();
    for (const holder of all("[data-scatter]")) if (holder.clientWidth) scatter(holder);
    const holder = one("[data-curves]");
    if (holder) curves(holder);
  }
  for (const control of all("[data-x], [data-y], [data-key], [data-axis], [data-smooth]")) control.addEventListener("change", drawAll);
  let drawn = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== drawn) { drawn = innerWidth; drawAll(); } });

  // ---- pictures: order, numbers, the viewer
  const higher = Object.fromEntries(data.tables.flatMap((table) => table.metrics.map((m) => [m.name, m.higher])));
  const PAGE = 12;
  for (const section of all(".pictures")) {
    const cards = all(".card", section);
    const list = one(".cards", section);
    const more = one(".more", section);
    const figures = new Map(cards.map((card) => [card, all("figure", card).map((f) => [f, JSON.parse(f.dataset.values)])]));
    let limit = PAGE;
    const mean = (card, metric) => {
      const known = figures.get(card).map(([, values]) => values[metric]).filter((v) => v != null);
      return known.length ? known.reduce((a, b) => a + b, 0) / known.length : NaN;
    };
    const show = () => {
      const shown = [...list.children];
      shown.forEach((card, index) => { card.hidden = index >= limit; });
      more.hidden = shown.length <= limit;
      more.textContent = `Show ${Math.min(PAGE, shown.length - limit)} more of ${shown.length}`;
    };
    const arrange = () => {
      const order = one("[data-order]", section).value;
      const metric = order.startsWith("metric:") ? order.slice(7) : null;
      const key = (card) => {
        if (metric) return higher[metric] ? mean(card, metric) : -mean(card, metric);
        return -number(order === "hole" ? card.dataset.hole : card.dataset.disagreement);
      };
      const byName = (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true });
      const byKey = (a, b) => {
        const [p, q] = [key(a), key(b)];
        if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q);
        return p - q || byName(a, b);
      };
      list.append(...cards.sort(order === "name" ? byName : byKey));
      show();
    };
    const label = () => {
      const select = one("[data-number]", section);
      if (!select) return;
      const metric = select.value;
      for (const card of cards) {
        const known = figures.get(card).filter(([, values]) => values[metric] != null);
        const best = (higher[metric] ? Math.max : Math.min)(...known.map(([, values]) => values[metric]));
        for (const [figure, values] of figures.get(card)) {
          const value = values[metric];
          one("output", figure).textContent = value == null ? "" : short(value);
          figure.classList.toggle("top", known.length > 1 && higher[metric] != null && value === best);
        }
      }
    };
    one("[data-order]", section).addEventListener("change", () => { limit = PAGE; arrange(); });
    one("[data-number]", section)?.addEventListener("change", label);
    more.addEventListener("click", () => {
      const next = list.children[limit];
      limit += PAGE;
      show();
      one("button", next)?.focus();
    });
    arrange();
    label();
  }

  const viewer = one(".viewer");
  const stage = one(".stage", viewer);
  const slide = one("input[type=range]", viewer);
  const [left, right] = [one("[data-left]", viewer), one("[data-right]", viewer)];
  let card = null;
  const picture = (column) => one(`figure[data-column="${column}"] img`, card);
  const columns = () => all("figure", card).map((f) => [f.dataset.column, one("figcaption span", f).textContent]);
  function meet(share) {
    slide.value = share;
    stage.style.setProperty("--at", `${share}%`);
  }
  function paint() {
    const [over, under] = [picture(left.value), picture(right.value)];
    one("[data-over]", stage).src = over.src;
    one("[data-under]", stage).src = under.src;
    one("[data-over]", stage).alt = `left: ${over.alt}`;
    one("[data-under]", stage).alt = `right: ${under.alt}`;
    one("[data-title]", viewer).textContent = card.dataset.name;
  }
  function open(target, wantLeft, wantRight) {
    card = target;
    const options = columns();
    for (const [select, wanted, otherwise] of [[left, wantLeft, 0], [right, wantRight, options.length - 1]]) {
      select.replaceChildren(...options.map(([column, label]) => new Option(label, column)));
      select.value = options.some(([column]) => column === wanted) ? wanted : options[otherwise][0];
    }
    paint();
    meet(50);
    if (!viewer.open) viewer.showModal();
    slide.focus();
  }
  for (const button of all("figure button")) {
    button.addEventListener("click", () => {
      const column = button.parentElement.dataset.column;
      open(button.closest(".card"), column === "truth" ? "input" : column, "truth");
    });
  }
  for (const select of [left, right]) select.addEventListener("change", paint);
  slide.addEventListener("input", () => meet(slide.value));
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    meet(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
  };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
  one("[data-difference]", viewer).addEventListener("change", (event) => stage.classList.toggle("difference", event.target.checked));
  one("[data-close]", viewer).addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  for (const button of all("[data-step]", viewer)) {
    button.addEventListener("click", () => {
      const cards = all(".card", card.closest(".cards"));
      const next = cards[(cards.indexOf(card) + Number(button.dataset.step) + cards.length) % cards.length];
      open(next, left.value, right.value);
      button.focus();
    });
  }

  if (choices.length) choose("0");
  else drawAll();
})();
