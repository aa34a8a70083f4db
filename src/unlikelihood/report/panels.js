"use strict";
for (const panel of document.querySelectorAll("[data-operate]")) {
  const { steps, normal, anomalous } = JSON.parse(panel.querySelector("script").textContent);
  const [slider, prevalence] = panel.querySelectorAll("input");
  const show = (name, value, range) => {
    const place = panel.querySelector(`[data-show="${name}"]`);
    place.textContent = value;
    if (range) place.append(Object.assign(document.createElement("small"), { textContent: range }));
  };
  const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)}\u202f%` : "–");
  // Wilson's 95 % interval of k in n (1927).
  const wilson = (k, n) => {
    const z = 1.959964, p = k / n, centre = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
    const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
    return `${percent(Math.max(0, centre - half))} to ${percent(Math.min(1, centre + half))}`;
  };
  const update = () => {
    const [threshold, fp, tp, p] = steps[Number(slider.value)];
    const rare = Math.min(Math.max(Number(prevalence.value) || 0, 0.1), 999.9) / 1000;
    const found = tp / anomalous, quiet = 1 - fp / normal;
    const right = found * rare, wrong = (1 - quiet) * (1 - rare);
    panel.querySelector("output").textContent = p === null ? threshold : `${threshold} (p ≤ ${p.toPrecision(2)})`;
    show("sensitivity", percent(found), wilson(tp, anomalous));
    show("specificity", percent(quiet), wilson(normal - fp, normal));
    show("ppv", percent(right / (right + wrong)), "of alarms are anomalies");
    show("npv", percent((quiet * (1 - rare)) / (quiet * (1 - rare) + (rare - right))), "of the others are normal");
    const round = (x) => (x < 9.95 ? x.toFixed(1) : Math.round(x).toLocaleString("en"));
    panel.querySelector(".said").textContent =
      `Here: ${tp} of ${anomalous} anomalies found, ${fp} of ${normal} normals flagged. Of 1,000 samples in use, ` +
      `${round(1000 * right)} true and ${round(1000 * wrong)} false alarms, ${round(1000 * (rare - right))} anomalies missed.`;
    slider.setAttribute("aria-valuetext", `threshold ${threshold}, sensitivity ${percent(found)}, specificity ${percent(quiet)}`);
    const dot = panel.querySelector("circle");
    dot.setAttribute("cx", 100 * (1 - quiet));
    dot.setAttribute("cy", 100 - 100 * found);
  };
  slider.addEventListener("input", update);
  prevalence.addEventListener("input", update);
  panel.hidden = false;
  update();
}
function browse(browser) {
  const cases = [...browser.querySelectorAll("article")], thumbs = [...browser.querySelectorAll("[data-case]")];
  let current = 0;
  // Steps go along the thumbnails as they are shown: a review hides some and moves others.
  const listed = () => [...browser.querySelectorAll("li:not([hidden]) > [data-case]")].map((each) => thumbs.indexOf(each));
  const go = (to) => {
    const list = listed(), place = list.indexOf(to);
    current = to;
    cases.forEach((each, index) => { each.hidden = index !== current; });
    thumbs.forEach((each, index) => {
      each.setAttribute("aria-current", index === current);
      each.tabIndex = index === (place < 0 ? list[0] : current) ? 0 : -1;
    });
    browser.querySelector("output").textContent =
      `${place < 0 ? "Not in the list" : `${place + 1} of ${list.length}`}: ${cases[current].dataset.summary}`;
    browser.dispatchEvent(new CustomEvent("case", { detail: current }));
  };
  const step = (by) => {
    const list = listed();
    go(list[Math.min(Math.max(list.indexOf(current) + by, 0), list.length - 1)] ?? current);
  };
  browser.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-case], [data-step]");
    if (button) button.dataset.case ? go(Number(button.dataset.case)) : step(Number(button.dataset.step));
  });
  browser.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, k: -1, j: 1, Home: -Infinity, End: Infinity }[event.key];
    if (event.target.matches("input, select") || by === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    step(by);
    if (document.activeElement.dataset.case) thumbs[current].focus();
  });
  browser.addEventListener("list", () => {
    const list = listed();
    go(list.includes(current) ? current : list[0] ?? current);
  });
  const fade = browser.querySelector("[data-fade]");
  if (fade) fade.addEventListener("input", () => browser.style.setProperty("--map", fade.value / 100));
  browser.classList.add("one");
  for (const part of browser.querySelectorAll(".bar, .thumbs")) part.hidden = false;
  go(0);
}
for (const browser of document.querySelectorAll("[data-browser]")) browse(browser);
const volumes = [];
for (const volume of document.querySelectorAll("[data-volume]")) {
  const { depth, size, step, columns, mm, start, edges } = JSON.parse(volume.dataset.volume);
  const [D, H, W] = size, shown = [[1, 2], [0, 2], [0, 1]];
  const plane = volume.querySelector("select"), slider = volume.querySelector("input"), said = volume.querySelector("output");
  const browser = volume.closest("[data-browser]"), one = volume.closest("article");
  const fade = browser.querySelector("[data-fade]");
  const at = start.map((slice, axis) => Math.min(Math.floor(slice / step[axis]), size[axis] - 1));
  const views = [...volume.querySelectorAll("figure")].map((figure) => {
    const sheet = figure.querySelector("img"), canvas = document.createElement("canvas"), frame = document.createElement("div");
    const letters = ["left", "right", "top", "bottom"].map((side) => Object.assign(document.createElement("span"), { className: side }));
    canvas.setAttribute("role", "img");
    frame.className = "view";
    frame.append(canvas, ...letters);
    figure.append(frame);
    sheet.hidden = true;
    return { sheet, canvas, letters, over: figure.classList.contains("over"), caption: figure.querySelector("figcaption").textContent };
  });
  // A sheet holds the axial slices; a slice of another plane is put together line by line. Nothing is read back from
  // the canvas, which some browsers forbid.
  const cut = (context, sheet, across, index) => {
    const corner = (z) => [(z % columns) * W, Math.floor(z / columns) * H];
    if (across === 0) return context.drawImage(sheet, ...corner(index), W, H, 0, 0, W, H);
    context.setTransform(...(across === 1 ? [1, 0, 0, 1, 0, 0] : [0, 1, 1, 0, 0, 0]));
    for (let z = 0; z < D; z += 1) {
      const [x, y] = corner(z), up = D - 1 - z;
      if (across === 1) context.drawImage(sheet, x, y + index, W, 1, 0, up, W, 1);
      else context.drawImage(sheet, x + index, y, 1, H, up, 0, 1, H);
    }
    context.resetTransform();
  };
  const draw = () => {
    if (one.hidden || !views.every(({ sheet }) => sheet.complete)) return;  // only one of hundreds is seen
    const across = plane.selectedIndex, [rows, wide] = shown[across];
    const text = `${plane.value} slice ${at[across] * step[across] + 1} of ${depth[across]}`;
    for (const { sheet, canvas, letters, over, caption } of views) {
      Object.assign(canvas, { width: size[wide], height: size[rows] });
      canvas.style.aspectRatio = `${depth[wide] * mm[wide]} / ${depth[rows] * mm[rows]}`;
      canvas.setAttribute("aria-label", `${caption}, ${text}`);
      letters.forEach((letter, side) => { letter.textContent = edges[across][side]; });
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      if (over) {
        cut(context, views[0].sheet, across, at[across]);
        const share = fade ? fade.value / 100 : 1;
        context.fillStyle = `rgb(0 0 0 / ${0.4 * share})`;  // dimmed, so that white is not taken for the strongest colour
        context.fillRect(0, 0, canvas.width, canvas.height);
        context.globalAlpha = share;
      }
      cut(context, sheet, across, at[across]);
    }
    slider.max = size[across] - 1;
    slider.value = at[across];
    slider.setAttribute("aria-valuetext", text);
    said.textContent = text;
  };
  const go = (to) => {
    at[plane.selectedIndex] = Math.min(Math.max(to, 0), size[plane.selectedIndex] - 1);
    draw();
  };
  slider.addEventListener("input", () => go(Number(slider.value)));
  if (fade) fade.addEventListener("input", draw);
  // Who goes on to the next case stays in the same plane.
  plane.addEventListener("change", () => volumes.forEach((each) => each(plane.selectedIndex)));
  volumes.push((across) => { plane.selectedIndex = across; draw(); });
  let turned = 0;
  volume.querySelector(".stills").addEventListener("wheel", (event) => {
    if (event.ctrlKey) return;
    const now = at[plane.selectedIndex], last = size[plane.selectedIndex] - 1;
    if (event.deltaY < 0 ? now === 0 : now === last) return;  // at an end the page scrolls on
    event.preventDefault();
    turned += event.deltaMode ? 40 * Math.sign(event.deltaY) : event.deltaY;
    if (Math.abs(turned) < 40) return;
    go(now + Math.sign(turned));
    turned = 0;
  }, { passive: false });
  volume.querySelector(".scroller").hidden = false;
  browser.addEventListener("case", draw);
  Promise.all(views.filter(({ sheet }) => !sheet.complete).map(({ sheet }) => sheet.decode())).then(draw);
}
