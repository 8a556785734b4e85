// The three charts of a deployment: drawn by uPlot, with the page's colours, one crosshair for all.
(() => {
  const root = document.getElementById("charts");
  if (!root || !window.uPlot) return;
  const KINDS = ["queue", "pre", "model", "post"];
  const charts = new Map();
  let data = null, colours = {};

  // Custom properties with light-dark() come back unresolved; a real property tells the colour.
  const probe = document.createElement("i");
  probe.hidden = true; document.body.append(probe);
  const colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  function readColours() {
    for (const name of ["bg", "ink", "ink2", "ink3", "line", "line2", "accent", "tint", "fail", "queue", "queue2", "sunk", "pre", "model", "post", "raise"]) colours[name] = colour(name);
  }
  const px = () => window.devicePixelRatio || 1;
  const font = (weight = 400) => `${weight} ${12 * px()}px "Atkinson Hyperlegible Next", system-ui, sans-serif`;

  function hatch(ctx) {
    const side = Math.round(8 * px()), tile = document.createElement("canvas");
    tile.width = tile.height = side;
    const on = tile.getContext("2d");
    on.fillStyle = colours.queue2; on.fillRect(0, 0, side, side);
    on.strokeStyle = colours.queue; on.lineWidth = side * 0.35;
    for (const shift of [-side, 0, side]) { on.beginPath(); on.moveTo(shift - 2, side + 2); on.lineTo(shift + side + 2, -2); on.stroke(); }
    return ctx.createPattern(tile, "repeat");
  }

  // --- numbers and times ---
  const pad = (n) => String(n).padStart(2, "0");
  const time = (s, seconds) => { const d = new Date(s * 1000); return `${pad(d.getHours())}:${pad(d.getMinutes())}${seconds ? `:${pad(d.getSeconds())}` : ""}`; };
  const day = (s) => `${new Date(s * 1000).getDate()} ${new Date(s * 1000).toLocaleString("en", { month: "short" })}`;
  const long = () => data.step_s >= 300;
  const moment = (s) => (data.step_s >= 3600 ? `${day(s)} ${time(s)}` : time(s, !long()));
  const number = (v, decimals = 1) => (v === null || v === undefined ? "–" : v.toFixed(decimals));

  // --- drawing shared by all ---
  function flags(u) {
    const { ctx, bbox } = u;
    ctx.save();
    let edge = Infinity;
    for (const one of [...data.switches].reverse()) {
      if (one.at < u.scales.x.min || one.at > u.scales.x.max) continue;
      const x = Math.round(u.valToPos(one.at, "x", true)), r = px();
      ctx.strokeStyle = colours.ink; ctx.lineWidth = r; ctx.setLineDash([1.5 * r, 2.5 * r]);
      ctx.beginPath(); ctx.moveTo(x, bbox.top - 2 * r); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
      ctx.setLineDash([]); ctx.font = font(650);
      const word = `v${one.version}`, wide = Math.round(ctx.measureText(word).width + 12 * r);
      const left = Math.min(x, bbox.left + bbox.width - wide);
      if (left + wide > edge) continue;
      ctx.fillStyle = colours.bg; ctx.fillRect(left, bbox.top - 18 * r, wide, 16 * r);
      ctx.strokeRect(left + 0.5, Math.round(bbox.top - 18 * r) + 0.5, wide, 16 * r);
      ctx.fillStyle = colours.ink; ctx.textBaseline = "middle"; ctx.textAlign = "left"; ctx.fillText(word, left + 6 * r, bbox.top - 9.5 * r);
      edge = left;
    }
    ctx.restore();
  }

  function axes(unitDecimals) {
    const common = { stroke: () => colours.ink2, font: "12px 'Atkinson Hyperlegible Next', system-ui, sans-serif", ticks: { show: false } };
    return [
      { ...common, grid: { show: false }, gap: 6, size: 26, space: 70, splits: (u) => {
        const { min, max } = u.scales.x, wide = u.bbox.width / px(), count = Math.max(2, Math.min(5, Math.floor(wide / 80) + 1));
        return Array.from({ length: count }, (_, i) => min + (i * (max - min)) / (count - 1));
      }, values: (u, at) => at.map(() => "") },
      { ...common, size: 34, gap: 6, grid: { stroke: () => colours.line, width: 1 }, values: (u, at) => at.map((v) => (unitDecimals && v && v < 1 ? v.toFixed(2) : String(+v.toFixed(2)))), splits: (u, _i, min, max) => rounds(max) },
    ];
  }
  function rounds(max) {
    const raw = max / 4, power = 10 ** Math.floor(Math.log10(raw || 1));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999) || 1;
    return Array.from({ length: Math.floor(max / step + 1e-9) + 1 }, (_, i) => i * step);
  }
  function top(most) {
    if (!(most > 0)) return 1;
    const steps = rounds(most), step = steps[1] || most;
    return Math.ceil(most / step - 1e-9) * step;
  }
  function times(u) {
    const { ctx, bbox } = u, at = u.axes[0]._splits || [];
    ctx.save(); ctx.font = font(); ctx.fillStyle = colours.ink2; ctx.textBaseline = "top";
    at.forEach((s, i) => {
      ctx.textAlign = i === 0 ? "left" : i === at.length - 1 ? "right" : "center";
      ctx.fillText(data.step_s >= 3600 ? day(s) : time(s), u.valToPos(s, "x", true), bbox.top + bbox.height + 7 * px());
    });
    ctx.strokeStyle = colours.line2; ctx.lineWidth = px();
    ctx.beginPath(); ctx.moveTo(bbox.left, bbox.top + bbox.height); ctx.lineTo(bbox.left + bbox.width, bbox.top + bbox.height); ctx.stroke();
    ctx.restore();
  }

  // --- what each chart is made of ---
  function layers() {
    const shown = data.parts.filter((part) => KINDS.includes(part.kind));
    const rest = data.parts.filter((part) => !KINDS.includes(part.kind));
    const some = (i) => shown.some((part) => part.mean_ms[i] !== null);
    const under = data.start.map((_, i) => (some(i) ? 0 : null));
    const found = [];
    let below = under;
    for (const part of shown) {
      const above = below.map((v, i) => (v === null ? null : v + (part.mean_ms[i] ?? 0)));
      found.push({ name: part.stage ? `stage ${part.stage} ${part.kind}` : part.kind, kind: part.kind, stage: part.stage, own: part.mean_ms, low: below, high: above });
      below = above;
    }
    return { found, rest };
  }

  const kinds = {
    calls: {
      decimals: 2,
      columns: () => [data.start, data.calls_per_s, data.errors_per_s],
      series: () => [{}, { stroke: () => colours.accent, width: 1.6, fill: () => colours.tint, points: { show: false } }, { show: true, paths: () => null, points: { show: false }, stroke: () => colours.fail }],
      most: () => Math.max(...data.calls_per_s, 0),
      right: 6,
      draw(u) {
        const { ctx, bbox } = u, wide = Math.max(2 * px(), bbox.width / data.start.length - px());
        ctx.save(); ctx.fillStyle = colours.fail;
        data.errors_per_s.forEach((v, i) => {
          if (!v) return;
          const x = u.valToPos(data.start[i], "x", true), base = bbox.top + bbox.height;
          const high = Math.max(3 * px(), base - u.valToPos(v, "y", true));
          ctx.fillRect(x - wide / 2, base - high, wide, high);
        });
        ctx.restore();
      },
      legend: (i) => [["accent", "calls", rate(data.calls_per_s[i])], ["fail", "errors", rate(data.errors_per_s[i])]],
      table: () => [["calls /s", data.calls_per_s, 2], ["errors /s", data.errors_per_s, 2]],
    },
    latency: {
      columns: () => [data.start, data.p50_ms, data.p95_ms, data.p99_ms],
      series: () => [{}, { stroke: () => colours.ink, width: 2.2, points: { show: false } }, { stroke: () => colours.ink2, width: 1.3, points: { show: false } }, { stroke: () => colours.ink2, width: 1.2, dash: [2, 3], points: { show: false } }],
      bands: () => [{ series: [2, 1], fill: () => colours.sunk }],
      most: () => Math.max(...data.p99_ms.filter((v) => v !== null), 0),
      right: 34,
      draw(u) {
        const { ctx, bbox } = u;
        ctx.save(); ctx.textBaseline = "middle"; ctx.textAlign = "left"; ctx.fillStyle = colours.ink;
        const ends = [["p99", data.p99_ms, 400], ["p95", data.p95_ms, 400], ["p50", data.p50_ms, 650]]
          .map(([word, values, weight]) => ({ word, weight, v: values.findLast((v) => v !== null) }))
          .filter((end) => end.v !== undefined).map((end) => ({ ...end, y: u.valToPos(end.v, "y", true) }));
        for (let i = 1; i < ends.length; i++) ends[i].y = Math.max(ends[i].y, ends[i - 1].y + 13 * px());
        let lowest = bbox.top + bbox.height;
        for (const end of [...ends].reverse()) { end.y = Math.min(end.y, lowest); lowest = end.y - 13 * px(); }
        for (const end of ends) { ctx.font = font(end.weight); ctx.fillText(end.word, bbox.left + bbox.width + 6 * px(), end.y); }
        ctx.restore();
      },
      legend: (i) => [["line", "p50", number(data.p50_ms[i])], ["line p95", "p95", number(data.p95_ms[i])], ["line p99", "p99", number(data.p99_ms[i])]],
      table: () => [["p50 ms", data.p50_ms, 2], ["p95 ms", data.p95_ms, 2], ["p99 ms", data.p99_ms, 2]],
    },
    time: {
      columns: () => [data.start, ...layers().found.map((layer) => layer.high)],
      series: () => [{}, ...layers().found.map(() => ({ paths: () => null, points: { show: false } }))],
      most: () => Math.max(...(layers().found.at(-1)?.high ?? [0]).filter((v) => v !== null), 0),
      right: 54,
      draw: drawStack,
      legend: (i) => KINDS.map((kind) => [kind, kind, number(data.parts.filter((p) => p.kind === kind).reduce((sum, p) => (p.mean_ms[i] === null ? sum : (sum ?? 0) + p.mean_ms[i]), null))]),
      table: () => data.parts.map((part) => [`${part.stage ? `stage ${part.stage} ` : ""}${part.kind} ms`, part.mean_ms, 2]),
    },
  };
  const rate = (v) => number(v, v && v < 1 ? 2 : v ? 1 : 2);

  function drawStack(u) {
    const { ctx, bbox } = u, r = px(), { found } = layers();
    if (!found.length) return;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    const X = data.start.map((s) => u.valToPos(s, "x", true));
    const Y = (v) => u.valToPos(v, "y", true);
    const runs = [];
    data.start.forEach((_, i) => { if (found[0].low[i] === null) return; if (runs.at(-1)?.at(-1) === i - 1) runs.at(-1).push(i); else runs.push([i]); });
    const half = (X[1] - X[0]) / 2 || 4;
    const edge = (run, values) => (run.length > 1 ? run.map((i) => [X[i], Y(values[i])]) : [[X[run[0]] - half, Y(values[run[0]])], [X[run[0]] + half, Y(values[run[0]])]]);
    for (const layer of found) {
      ctx.fillStyle = layer.kind === "queue" ? hatch(ctx) : colours[layer.kind];
      for (const run of runs) {
        ctx.beginPath();
        edge(run, layer.low).forEach(([x, y], k) => (k ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
        edge(run, layer.high).reverse().forEach(([x, y]) => ctx.lineTo(x, y));
        ctx.closePath(); ctx.fill();
      }
    }
    ctx.strokeStyle = colours.bg; ctx.lineJoin = "round";
    found.forEach((layer, k) => {
      const next = found[k + 1];
      if (!next) return;
      ctx.lineWidth = (layer.stage !== next.stage ? 2.6 : 1) * r;
      for (const run of runs) { ctx.beginPath(); edge(run, layer.high).forEach(([x, y], j) => (j ? ctx.lineTo(x, y) : ctx.moveTo(x, y))); ctx.stroke(); }
    });
    ctx.restore();
    const last = runs.at(-1)?.at(-1);
    if (last === undefined) return;
    ctx.save(); ctx.font = font(); ctx.fillStyle = colours.ink; ctx.strokeStyle = colours.ink3; ctx.lineWidth = r; ctx.textBaseline = "middle"; ctx.textAlign = "left";
    const x = bbox.left + bbox.width + 3 * r;
    let before = Infinity;
    for (const stage of [...new Set(found.map((layer) => layer.stage))].filter(Boolean)) {
      const mine = found.filter((layer) => layer.stage === stage);
      const low = Y(mine[0].low[last]) - r, high = Y(mine.at(-1).high[last]) + r;
      if (low - high > 4 * r) { ctx.beginPath(); ctx.moveTo(x, low); ctx.lineTo(x + 4 * r, low); ctx.lineTo(x + 4 * r, high); ctx.lineTo(x, high); ctx.stroke(); }
      const y = Math.min((low + high) / 2, before - 14 * r);
      ctx.fillText(`stage ${stage}`, x + 8 * r, y); before = y;
    }
    ctx.restore();
  }

  // --- legends, tooltip, table ---
  function swatch(kind) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    if (kind.startsWith("line")) { const line = document.createElement("span"); line.className = `swatch ${kind}`; return line; }
    svg.setAttribute("class", "swatch"); svg.setAttribute("viewBox", "0 0 10 10"); svg.setAttribute("aria-hidden", "true");
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    rect.setAttribute("width", "10"); rect.setAttribute("height", "10");
    if (KINDS.includes(kind)) rect.setAttribute("class", `f-${kind}`); else rect.setAttribute("fill", `var(--${kind})`);
    svg.append(rect); return svg;
  }
  function legend(id, index) {
    const list = document.getElementById(`${id}-legend`);
    list.replaceChildren(...kinds[id].legend(index).map(([kind, word, value]) => {
      const item = document.createElement("li"), bold = document.createElement("b");
      bold.textContent = value; item.append(swatch(kind), ` ${word} `, bold); return item;
    }));
  }
  const newest = () => { for (let i = data.start.length - 2; i > 0; i--) if (data.calls_per_s[i]) return i; return data.start.length - 1; };
  function pointAt(index) {
    const at = index ?? newest();
    for (const id of charts.keys()) legend(id, at);
  }
  function tip(u, box) {
    const at = u.cursor.idx;
    const { found } = layers();
    if (at === null || at === undefined || !found.length || found[0].low[at] === null || u.cursor.left < 0) { box.hidden = true; return; }
    box.hidden = false;
    const row = (cls, mark, word, value) => { const line = document.createElement("div"), b = document.createElement("b"); line.className = cls; if (mark) line.append(mark); b.textContent = value; line.append(word, b); return line; };
    const whole = found.at(-1).high[at];
    box.replaceChildren(row("row head", null, moment(data.start[at]), `${number(whole)} ms`), ...[...found].reverse().map((layer) => row("row", swatch(layer.kind), layer.name, number(layer.own[at]))));
    const left = u.cursor.left + u.over.offsetLeft, wide = box.offsetWidth;
    box.style.left = `${left + 14 + wide > u.width ? left - wide - 14 : left + 14}px`;
    box.style.top = "4px";
  }
  function table(id) {
    const at = document.getElementById(`${id}-table`);
    if (!at || !at.closest("details").open) return;
    const columns = kinds[id].table();
    const cell = (tag, text, cls) => { const c = document.createElement(tag); c.textContent = text; if (cls) c.className = cls; if (tag === "th") c.scope = cls ? "col" : "row"; return c; };
    const head = document.createElement("tr"); head.append(cell("th", "Time", " "), ...columns.map(([word]) => cell("th", word, "n")));
    const rows = data.start.map((s, i) => ({ s, i })).filter(({ i }) => data.calls_per_s[i]).reverse().slice(0, 200).map(({ s, i }) => {
      const row = document.createElement("tr"); row.append(cell("th", moment(s)), ...columns.map(([, values, decimals]) => cell("td", number(values[i], decimals), "n"))); return row;
    });
    const thead = document.createElement("thead"), tbody = document.createElement("tbody");
    thead.append(head); tbody.append(...rows); at.replaceChildren(thead, tbody);
  }
  root.addEventListener("toggle", () => Object.keys(kinds).forEach(table), true);

  // --- making and renewing ---
  function make(id) {
    const at = document.getElementById(`${id}-chart`), kind = kinds[id];
    const box = document.createElement("div"); box.className = "tip"; box.hidden = true;
    const u = new uPlot({
      width: at.clientWidth, height: at.clientHeight, padding: [22, kind.right, 0, 0], legend: { show: false },
      scales: { x: { time: false, range: () => [data.start[0], data.start.at(-1)] }, y: { range: () => [0, top(kind.most())] } },
      axes: axes(kind.decimals), series: kind.series(), bands: kind.bands?.() ?? [],
      cursor: { sync: { key: "page", setSeries: false }, y: false, drag: { x: false, y: false }, points: { size: 8, width: 2, stroke: () => colours.ink, fill: () => colours.bg, show: id !== "time" } },
      hooks: { draw: [kind.draw, times, flags], setCursor: [(one) => { if (id === "calls") pointAt(one.cursor.left < 0 ? null : one.cursor.idx); if (id === "time") tip(one, box); }] },
    }, kind.columns(), at);
    at.append(box);
    new ResizeObserver(() => { if (at.clientWidth) u.setSize({ width: at.clientWidth, height: at.clientHeight }); }).observe(at);
    return u;
  }
  function describe() {
    const total = data.total, told = total.calls ? `${total.calls} calls, ${total.errors} errors, p50 ${number(total.p50_ms)} ms, p99 ${number(total.p99_ms)} ms` : "no calls";
    for (const id of Object.keys(kinds)) document.getElementById(`${id}-chart`).setAttribute("aria-label", `${document.getElementById(`${id}-title`).textContent}: ${told}`);
  }
  function show() {
    const shape = `${data.parts.map((part) => part.name)}`;
    for (const id of Object.keys(kinds)) {
      const at = document.getElementById(`${id}-chart`);
      const u = charts.get(id);
      if (u && u.shape !== shape && id === "time") { u.destroy(); at.querySelector(".tip")?.remove(); charts.delete(id); }
      if (charts.has(id)) charts.get(id).setData(kinds[id].columns()); else { const made = make(id); made.shape = shape; charts.set(id, made); }
      let none = at.querySelector(".nothing");
      if (data.total.calls === 0 && !none) { none = document.createElement("p"); none.className = "nothing"; none.textContent = "No calls in this time"; at.append(none); }
      if (data.total.calls && none) none.remove();
      table(id);
    }
    describe();
    const cursor = charts.get("calls").cursor;
    pointAt(cursor.left >= 0 ? cursor.idx : null);
  }
  async function renew() {
    try {
      const got = await fetch(root.dataset.series, { headers: { "HX-Request": "true" } });
      if (!got.ok) return;
      data = await got.json();
      show();
      document.dispatchEvent(new Event("figures"));
      root.dataset.drawn = "1";
    } catch { /* the foot of the page says so after five seconds */ }
  }
  document.addEventListener("tick", renew);
  document.addEventListener("theme", () => { readColours(); charts.forEach((u) => u.redraw()); });
  readColours();
  document.fonts.ready.then(renew);
})();
