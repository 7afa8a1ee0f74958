// What a reader of the page does and sees. Each line of the input is one thing to do; each is
// answered with "ok", or with what is wrong.

import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const packages = process.env.PACKAGES;
const require = createRequire(`${packages}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(`${packages}/axe-core/axe.min.js`, "utf8");
const url = process.argv[2];
const PATIENCE = 60000;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});

const wrong = [];
let page;
let isDown = false;

// What is wrong with a page whatever is done with it.
const watch = async (context) => {
  await context.addInitScript(() => {
    window.phases = [];
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
    document.addEventListener("DOMContentLoaded", () => {
      const note = () => {
        const { phase } = document.body.dataset;
        if (window.phases.at(-1) !== phase) window.phases.push(phase);
      };
      note();
      new MutationObserver(note).observe(document.body, { attributeFilter: ["data-phase"] });
    });
  });
  const opened = await context.newPage();
  opened.on("console", (message) => {
    // That a program which was killed does not answer is what the browser itself says.
    if (isDown && message.text().includes("net::ERR_")) return;
    if (["error", "warning"].includes(message.type())) wrong.push(message.text());
  });
  opened.on("pageerror", (error) => wrong.push(error.message));
  return opened;
};

const check = (holds, what) => {
  if (!holds) throw new Error(what);
};
const equal = (left, right, what) => check(left === right, `${what}: ${JSON.stringify(left)} is not ${JSON.stringify(right)}`);
const number = (text) => Number(text.replaceAll("\u202f", ""));
const twin = (name) => page.evaluate((name) => fetch(`api/v1/${name}`).then((answer) => answer.json()), name);
const cells = (id) => page.$$eval(`#${id}-table tbody tr`, (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
const eventually = async (holds, what) => {
  const end = Date.now() + PATIENCE;
  let last;
  do {
    last = await holds();
    if (last === true) return;
    await new Promise((done) => setTimeout(done, 50));
  } while (Date.now() < end);
  throw new Error(`${what}: ${JSON.stringify(last)}`);
};

const phase = (wanted) => page.waitForFunction((wanted) => document.body.dataset.phase === wanted, wanted, { timeout: PATIENCE });

const doings = {
  async open(scheme) {
    page = await watch(await browser.newContext({ colorScheme: scheme, viewport: { width: 1100, height: 900 } }));
    await page.goto(url);
    await page.waitForFunction(() => document.body.dataset.connection === "open", null, { timeout: PATIENCE });
  },

  phase,

  // The page, its twins and the truth have the same figures.
  async figures(stored, keys) {
    await eventually(async () => {
      const [[name, lag, , , shown]] = await cells("sources");
      const { sources: [source] } = await twin("sources");
      const { states: [state] } = await twin("graph");
      const found = [name, number(lag), number(shown), source.stored, source.lag_records, state.keys];
      return JSON.stringify(found) === JSON.stringify(["lines", 0, Number(stored), Number(stored), 0, Number(keys)]) || found;
    }, "stored and keys");
    // Nothing comes any more: batches without records do not change these.
    await eventually(async () => {
      const [batches, { batches: twins }] = [await cells("batches"), await twin("batches")];
      const sums = (all, records) => all.reduce((sum, batch) => sum + records(batch), 0);
      const shown = twins.slice(0, 20);
      const found = [batches.length, sums(batches, (row) => number(row[2]))];
      return JSON.stringify(found) === JSON.stringify([shown.length, sums(shown, (batch) => batch.records)]) || found;
    }, "batches");
    const { errors, config } = await twin("all");
    equal((await cells("errors")).length, Math.max(1, errors.length), "errors");
    const settings = await page.$$eval("#config tbody tr", (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
    equal(JSON.stringify(Object.fromEntries(settings)), JSON.stringify(config), "settings");
    const { operators } = await twin("graph");
    equal(await page.locator("#graph-drawing g").count(), operators.length, "drawn operators");
    const { segments } = await twin("log");
    await eventually(async () => (await page.locator("#log-drawing .segment").count()) === segments.length, "drawn segments");
    for (const chart of ["batches", "lineage"]) {
      await page.locator(`#${chart}-chart canvas`).waitFor({ timeout: PATIENCE });
    }
  },

  async axe(scheme) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    const told = violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
    check(told.length === 0, `axe in ${scheme}: ${told.join("; ")}`);
    await page.emulateMedia({ colorScheme: "light" });
  },

  // Every stop of a walk with the tabulator is seen, in the order of the page; charts follow the arrows.
  async keyboard() {
    await page.evaluate(() => {
      document.activeElement?.blur();
      scrollTo(0, 0);
    });
    const stops = [];
    for (;;) {
      await page.keyboard.press("Tab");
      const stop = await page.evaluate(() => {
        const now = document.activeElement;
        if (!now || now === document.body) return null;
        const style = getComputedStyle(now);
        const box = now.getBoundingClientRect();
        return { what: now.id || now.getAttribute("href") || now.getAttribute("aria-label"), outlined: style.outlineStyle !== "none", top: box.top + scrollY, inView: box.bottom > 0 && box.top < innerHeight };
      });
      if (!stop || stop.what === stops[0]?.what) break;
      check(stop.outlined && stop.inView, `the focus on ${stop.what} is not seen`);
      stops.push(stop);
      check(stops.length < 200, "the walk does not end");
    }
    equal(stops[0].what, "#main", "the first stop skips to the panels");
    for (const id of ["batches-chart", "lineage-chart", "log-drawing", "graph-drawing"]) {
      check(stops.some((stop) => stop.what === id), `${id} is not reached`);
    }
    const tops = stops.slice(1).map((stop) => stop.top);
    check(tops.every((top, at) => at === 0 || top >= tops[at - 1] - 1), "the walk goes up");
    await page.locator("#batches-chart").focus();
    await page.keyboard.press("End");
    await page.keyboard.press("ArrowLeft");
    const said = await page.textContent("#batches-cursor");
    check(/^Batch \d+, complete at .* it waited /.test(said), `the chart says ${said}`);
    await page.keyboard.press("Home");
    check((await page.textContent("#batches-cursor")) !== said, "the cursor does not move");
  },

  // 320 px, which is also what 400 % of 1280 px is: nothing is cut off, and only tables and drawings move sideways.
  async narrow() {
    for (const [width, height] of [[320, 800], [320, 256]]) {
      await page.setViewportSize({ width, height });
      await page.waitForTimeout(100);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      check(wide <= width, `${wide} px at ${width} x ${height}`);
    }
    await page.setViewportSize({ width: 1100, height: 900 });
  },

  async "without-scripts"() {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const plain = await context.newPage();
    await plain.goto(url);
    equal(await plain.textContent("#phase"), "Steady", "the phase without scripts");
    const rows = await plain.locator("#batches-table tbody tr").count();
    check(rows > 1, `${rows} batches without scripts`);
    check(await plain.locator("#graph-drawing svg").isVisible(), "the graph without scripts");
    check(!(await plain.locator("#batches-chart").isVisible()), "an empty chart without scripts");
    await context.close();
  },

  async lost() {
    isDown = true;
    await page.waitForFunction(() => document.body.dataset.connection === "lost", null, { timeout: PATIENCE });
    const said = await page.textContent("#connection");
    check(said.startsWith("No connection since "), said);
    check((await cells("batches")).length > 1, "what was shown has gone");
  },

  async phases(wanted) {
    // On a busy machine batches are behind now and then.
    const seen = (await page.evaluate(() => window.phases)).filter((phase) => phase !== "catching_up");
    equal(seen.filter((phase, at) => phase !== seen[at - 1]).join(","), wanted, "phases");
    isDown = false;
  },

  // What to do, and where.
  async failure() {
    const { failure } = await twin("status");
    check((await page.textContent("#status-sentence")) === failure.message, "the sentence");
    const facts = await page.textContent("#status-facts");
    check(facts.includes(failure.operator) && facts.includes(String(failure.lsn)), facts);
    const { errors } = await twin("all");
    check((await cells("errors")).some((row) => row.at(-1) === errors[0].message), "the newest error");
  },

  async screenshots() {
    mkdirSync(process.env.PICTURES, { recursive: true });
    for (const scheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.waitForTimeout(500);
      await page.screenshot({ path: `${process.env.PICTURES}/page-${scheme}.png`, clip: { x: 0, y: 0, width: 1100, height: 1400 }, fullPage: true });
    }
    await page.emulateMedia({ colorScheme: "light" });
  },

  async quiet() {
    check(wrong.length === 0, `the console has: ${wrong.join("; ")}`);
  },

  async close() {
    await browser.close();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [what, ...words] = line.split(" ");
  try {
    await doings[what](...words);
    console.log("ok");
  } catch (error) {
    console.log(String(error.message).replaceAll("\n", " "));
  }
}
await browser.close();
