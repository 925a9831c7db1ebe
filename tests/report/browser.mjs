// Opens a page in Chromium at two widths, light and dark, and prints as JSON what a reader would run into.
// node browser.mjs PAGE CHROMIUM OUT, with puppeteer-core and axe-core in node_modules of the working directory.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(path.join(process.cwd(), "package.json"));
const puppeteer = require("puppeteer-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [page, chromium, out] = process.argv.slice(2);

const browser = await puppeteer.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"],
});
const found = [];
try {
  for (const width of [1280, 390]) {
    for (const scheme of ["light", "dark"]) {
      const tab = await browser.newPage();
      const seen = { width, scheme, console: [], requests: [] };
      tab.on("console", (message) => ["error", "warn"].includes(message.type()) && seen.console.push(message.text()));
      tab.on("pageerror", (error) => seen.console.push(String(error)));
      tab.on("request", (request) => /^(file|data):/.test(request.url()) || seen.requests.push(request.url()));
      await tab.setViewport({ width, height: 900, isMobile: width < 500, hasTouch: width < 500 });
      await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      await tab.goto(pathToFileURL(page).href, { waitUntil: "load" });
      seen.scroll_width = await tab.evaluate(() => document.documentElement.scrollWidth);
      seen.ground = await tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
      seen.broken_images = await tab.evaluate(() => [...document.images].filter((image) => !image.naturalWidth).length);
      await tab.keyboard.press("Tab");
      seen.first_focus = await tab.evaluate(() => document.activeElement.getAttribute("href"));
      await tab.keyboard.press("Enter");
      seen.after_skip = await tab.evaluate(() => document.activeElement.id);
      await tab.evaluate(axe);
      const result = await tab.evaluate(() => window.axe.run(document));
      seen.violations = result.violations.map(({ id, impact, nodes }) => ({
        id,
        impact,
        nodes: nodes.slice(0, 5).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`),
      }));
      await tab.evaluate(() => window.scrollTo(0, 0));
      await tab.screenshot({ path: path.join(out, `${width}-${scheme}.png`), fullPage: true, captureBeyondViewport: true });
      if (width === 1280 && scheme === "dark") {
        await tab.pdf({ path: path.join(out, "print.pdf"), format: "A4", printBackground: false });
      }
      found.push(seen);
      await tab.close();
    }
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
