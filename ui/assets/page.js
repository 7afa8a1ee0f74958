// Keeps the page as it is on the server: each event replaces a part of it. Without it the page is
// loaded again and again, and shows the same but for the charts.
"use strict";

(() => {
  const at = (id) => document.getElementById(id);
  const say = (id, text) => {
    const place = at(id);
    if (place && place.textContent !== text) place.textContent = text;
  };

  // ---- what is announced: changes of the state line, at most once in ten seconds

  let announced = document.body.dataset.phase;
  let lastAnnouncement = -Infinity;
  let due = null;
  const announce = (phase, sentence) => {
    if (phase === announced && due === null) return;
    clearTimeout(due);
    const wait = Math.max(0, lastAnnouncement + 10000 - performance.now());
    due = setTimeout(() => {
      due = null;
      if (phase === announced) return;
      announced = phase;
      lastAnnouncement = performance.now();
      say("announcement", sentence);
    }, wait);
  };

  // ---- parts of the page

  const inPlace = (place, html) => {
    if (!place || html === null) return;
    // Where a reader has scrolled to stays.
    const box = place.closest(".table, .drawing") || place;
    const [left, top] = [box.scrollLeft, box.scrollTop];
    place.innerHTML = html;
    box.scrollLeft = left;
    box.scrollTop = top;
  };

  const status = (line) => {
    document.body.dataset.phase = line.phase;
    document.title = `${line.title} \u2013 ${line.application} \u2013 Highwater`;
    say("phase", line.title);
    say("status-sentence", line.sentence);
    inPlace(at("status-facts"), line.facts);
    announce(line.phase, `${line.title}. ${line.sentence}`);
  };

  const panel = (part) => {
    say(`${part.id}-sentence`, part.sentence);
    inPlace(at(`${part.id}-table`), part.table);
    inPlace(at(`${part.id}-drawing`), part.drawing);
  };

  // ---- charts

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.body).getPropertyValue(`--${name}`).trim();
  const charts = new Map();
  const two = (value) => (value === null || value === undefined ? "\u2013" : value.toFixed(2));
  const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 23);

  const axes = (unit) => {
    const line = { stroke: color("ink"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1 } };
    return [{ ...line, space: 80 }, { ...line, size: 64, label: unit, labelSize: 20 }];
  };

  const width = (place) => Math.max(200, place.clientWidth);

  // Moves the cursor with the keys, and says what is there.
  const byKeys = (place, chart, describe) => {
    place.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const plot = chart.plot;
      const last = plot.data[0].length - 1;
      const from = chart.at === undefined ? last : chart.at;
      const to = Math.min(last, Math.max(0, from + steps[event.key]));
      chart.at = to;
      plot.setCursor({ left: plot.valToPos(plot.data[0][to], "x"), top: 0 });
      const text = at(place.id.replace("-chart", "-cursor"));
      text.hidden = false;
      text.textContent = describe(to);
    });
  };

  const draw = (id, data, options, describe) => {
    const place = at(`${id}-chart`);
    if (!place || !window.uPlot || data[0].length < 2) return;
    place.hidden = false;
    let chart = charts.get(id);
    if (!chart) {
      chart = {};
      charts.set(id, chart);
      byKeys(place, chart, (index) => chart.describe(index));
    }
    chart.describe = describe;
    chart.make = () => {
      if (chart.plot) chart.plot.destroy();
      const plot = new uPlot({ width: width(place), height: 220, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), "Etc/UTC"), ...options() }, chart.data, place);
      chart.plot = plot;
    };
    chart.data = data;
    if (chart.plot) chart.plot.setData(data);
    else chart.make();
  };

  const redraw = () => charts.forEach((chart) => chart.make && chart.make());
  dark.addEventListener("change", redraw);
  addEventListener("resize", () => {
    charts.forEach((chart, id) => chart.plot && chart.plot.setSize({ width: width(at(`${id}-chart`)), height: 220 }));
  });

  const drawBatches = (batches) => {
    // Each step lies on those before it.
    const stacked = [];
    batches.steps.forEach((step, level) => {
      stacked.push(step.ms.map((ms, n) => ms + (level ? stacked[level - 1][n] : 0)));
    });
    const describe = (n) => {
      const steps = batches.steps.map((step) => `${step.name} ${two(step.ms[n])} ms`).join(", ");
      return `Batch ${batches.id[n]}, complete at ${clock(batches.time[n])}: ${steps}; it waited ${two(batches.waited[n])} ms.`;
    };
    const options = () => ({
      axes: axes("ms"),
      // The topmost first: those below it are drawn over it.
      series: [
        {},
        ...[...batches.steps.keys()].reverse().map((level) => ({
          label: batches.steps[level].name,
          stroke: color(`step-${level}`),
          fill: color(`step-${level}`),
          width: 1,
          points: { show: false },
          value: (plot, value, series, n) => two(n === null ? null : charts.get("batches").raw.steps[level].ms[n]),
        })),
        { label: "waited", stroke: color("ink"), width: 1, dash: [4, 4], points: { show: false }, value: (plot, value) => two(value) },
      ],
    });
    draw("batches", [batches.time, ...stacked.reverse(), batches.waited], options, describe);
    const chart = charts.get("batches");
    if (chart) chart.raw = batches;
  };

  const drawLineage = (lineage) => {
    const options = () => ({
      axes: axes("batches"),
      series: [{}, { label: "to replay", stroke: color("step-0"), fill: color("step-0"), width: 1, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) }],
      scales: { y: { range: (plot, low, high) => [0, Math.max(1, high)] } },
    });
    draw("lineage", [lineage.time, lineage.batches], options, (n) => `At ${clock(lineage.time[n])}: ${lineage.batches[n]} batches to replay.`);
  };

  // ---- the connection

  let lostAt = null;
  const connected = () => {
    document.body.dataset.connection = "open";
    if (lostAt !== null) say("connection", "");
    lostAt = null;
  };
  const lost = () => {
    document.body.dataset.connection = "lost";
    if (lostAt === null) lostAt = new Date();
    const since = lostAt.toISOString().slice(11, 19);
    say("connection", `No connection since ${since}: the program has ended or does not answer. What is shown is as of then. Trying again.`);
  };

  const events = new EventSource("events");
  const on = (name, act) => events.addEventListener(name, (event) => act(JSON.parse(event.data)));
  events.onopen = connected;
  events.onerror = () => {
    lost();
    // The browser gives up after some answers, such as 503 while the server ends.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
  };
  on("status", status);
  on("panel", panel);
  on("charts", (data) => {
    drawBatches(data.batches);
    drawLineage(data.lineage);
  });
  on("trouble", (trouble) => {
    document.body.dataset.phase = "trouble";
    say("status-sentence", trouble.sentence);
  });
})();
