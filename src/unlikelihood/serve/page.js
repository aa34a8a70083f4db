"use strict";
{
  const find = (selector) => document.querySelector(selector);
  const [drop, chosen, said, trouble, bar, again] = [".drop", "[data-files]", "[data-said]", ".trouble", "progress", "[data-again]"].map(find);
  const blank = find("#triage").content, place = find("[data-cases]");
  const session = `live ${crypto.randomUUID?.() ?? Math.random()}`, NAMED = /\.(png|jpe?g|tiff?|webp|bmp|gif|jp2|j2k|jpx|npy|zip|tar|tar\.gz|tgz|mha|mhd|nii|nii\.gz|nrrd|nhdr|hdr)$/i, ARCHIVE = /\.(zip|tar|tar\.gz|tgz)$/i;
  const TOGETHER = 16, HEAVY = 2 ** 23;  // files and bytes of a request, as far as they can be divided
  let rows = [], model = null, key = "", stop = () => {}, waiting = 0, ended = 0;
  const ask = async (path, options = {}) => {
    for (;;) {
      const answer = await fetch(path, { ...options, headers: key ? { authorization: `Bearer ${key}` } : {} });
      if (answer.ok) return answer.status === 204 ? null : answer.json();
      const { error } = await answer.json().catch(() => ({ error: answer.statusText }));
      if (answer.status !== 503) throw Object.assign(new Error(error), { status: answer.status });
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get("retry-after") ?? 1)));
    }
  };
  const meet = async () => {
    try {
      model = await ask("model");
    } catch (error) {
      find("[data-key]").hidden = error.status !== 401;
      trouble.textContent = key || error.status !== 401 ? error.message : "";
      return;
    }
    find("[data-key]").hidden = true;
    find("[data-drop]").hidden = false;
    trouble.textContent = "";
    find("h1").textContent = model.detector;
    document.title = `${model.detector}: live triage`;
    const alpha = model.alpha === null ? "" : ` At most ${100 * model.alpha}\u202f% of new normals are called anomalous.`;
    find(".lede").textContent =
      `Ranks what is dropped here, the most anomalous first.${alpha} A rank is no diagnosis: what each of them is, a reviewer says.`;
    find("[data-takes]").textContent =
      `${model.takes} of shape (${model.shape.join(", ")})${model.calibration ? `, ${model.calibration} calibration normals` : ""}`;
    find("[data-map]").textContent = `Maps are of the ${model.map.kind}, in ${model.map.unit}.`;
  };
  const short = (value, digits) => String(Number(value.toPrecision(digits)));
  const named = (row) => {
    const before = rows.filter(({ sent }) => sent === row.name).length;
    return { ...row, sent: row.name, name: before ? `${row.name} (${before + 1})` : row.name };
  };
  const words = (row, rank, of) => [
    ...(row.p_value === undefined ? [] : [`p-value ${short(row.p_value, 3)}`]),
    `anomaly score ${short(row.anomaly_score, 4)}`,
    ...(row.decision === undefined ? [] : [`called ${row.decision} at α = ${row.alpha}`]),
  ];
  const draw = () => {
    const scored = rows.filter((row) => row.anomaly_score !== undefined).sort((a, b) => b.anomaly_score - a.anomaly_score);
    const page = document.importNode(blank, true), triage = page.querySelector("[data-triage]");
    const browser = triage.querySelector("[data-browser]"), body = triage.querySelector("tbody");
    const [thumb, article, line] = [browser.querySelector(".thumbs li"), browser.querySelector("article"), body.querySelector("tr")];
    const near = article.querySelector(".near figure");
    for (const one of [thumb, article, line, near]) one.remove();
    triage.dataset.triage = session;
    const views = [];
    scored.forEach((row, rank) => {
      const facts = words(row), called = row.decision === "anomalous", small = thumb.cloneNode(true), one = article.cloneNode(true);
      const button = small.querySelector("button"), picture = small.querySelector("img");
      button.dataset.case = rank;
      button.classList.toggle("anomalous", called);
      button.setAttribute("aria-label", `Case ${rank + 1}: ${row.name}, ${facts[0]}`);
      if (row.picture) picture.src = row.picture;
      else picture.replaceWith(middle(row.volume));
      one.dataset.summary = `${row.name}, ${facts[0]}`;
      one.querySelector("h3").textContent = row.name;
      one.querySelector("p").textContent = `Rank ${rank + 1} of ${scored.length}: ${facts.join(", ")}.`;
      if (row.volume) {
        one.querySelector(".stills").replaceWith(document.importNode(find("#volume").content, true));
        views.push([one, row.volume]);
      } else {
        const [plain, mapped] = one.querySelectorAll(".stills figure");
        for (const image of [plain.querySelector("img"), mapped.querySelector("img")]) Object.assign(image, { src: row.picture, alt: row.name });
        if (row.map) Object.assign(mapped.querySelector(".map"), { src: row.map, alt: `${row.name}, its map` });
        else mapped.remove();
      }
      if (!row.nearest) one.querySelector(".near").remove();
      (row.nearest ?? []).forEach(({ picture: source, distance }, place) => {
        const beside = near.cloneNode(true);
        Object.assign(beside.querySelector("img"), { src: source, alt: `${row.name}, number ${place + 1} of the nearest normals` });
        beside.querySelector("figcaption").textContent = short(distance, 3);
        one.querySelector(".near .stills").append(beside);
      });
      browser.querySelector(".thumbs").append(small);
      browser.append(one);
    });
    [...scored, ...rows.filter((row) => row.anomaly_score === undefined)].forEach((row, rank) => {
      const one = line.cloneNode(true), [first, name, , ...numbers] = one.children, known = row.anomaly_score !== undefined;
      Object.assign(one.dataset, {
        name: row.name, rank, score: row.anomaly_score ?? "", p: row.p_value ?? "", decision: row.decision ?? "", row: known ? rank : "", review: "",
      });
      first.querySelector("button").dataset.open = rank;
      first.querySelector("button").textContent = rank + 1;
      first.querySelector("button").setAttribute("aria-label", `Show ${row.name}`);
      if (!known) first.replaceChildren();
      name.textContent = row.name;
      if (!known) name.append(Object.assign(document.createElement("p"), { className: "why", textContent: `Cannot be judged: ${row.reason}` }));
      one.querySelector("select").setAttribute("aria-label", `Review of ${row.name}`);
      const values = [known ? short(row.anomaly_score, 4) : "", row.p_value === undefined ? "" : short(row.p_value, 3), row.decision ?? ""];
      numbers.forEach((cell, column) => { cell.textContent = values[column]; });
      body.append(one);
    });
    if (!scored.length) browser.remove();
    stop();
    place.replaceChildren(page);
    const fade = place.querySelector("[data-fade]");
    if (scored.length) browse(place.querySelector("[data-browser]"));
    stop = review(place.querySelector("[data-triage]"));
    for (const [one, volume] of views) view(one, volume, fade);
    again.hidden = find("[data-map]").hidden = rows.length === 0;
  };
  // The middle slice of a volume, small.
  const middle = ({ shape: [D, H, W], voxels, ends, limits }) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: W, height: H }), context = canvas.getContext("2d");
    const image = context.createImageData(W, H), text = atob(voxels), from = 2 * Math.floor(D / 2) * H * W;
    for (let pixel = 0; pixel < H * W; pixel += 1) {
      const stored = text.charCodeAt(from + 2 * pixel) + 256 * text.charCodeAt(from + 2 * pixel + 1);
      const value = ends[0] + (stored / 65535) * (ends[1] - ends[0]), grey = (255 * (value - limits[0])) / (limits[1] - limits[0] || 1);
      image.data.set([grey, grey, grey, 255], 4 * pixel);
    }
    context.putImageData(image, 0, 0);
    return canvas;
  };
  // Slices of a series go together, whatever they weigh, and an archive by itself; all else in requests that are answered soon.
  const portions = (files) => {
    const slices = files.filter(({ name }) => model.takes === "volumes" && !NAMED.test(name)), made = slices.length ? [slices] : [];
    let last = null, size = 0;
    for (const one of files.filter((file) => !slices.includes(file))) {
      if (!last || [one, last[0]].some(({ name }) => ARCHIVE.test(name)) || last.length >= Math.min(TOGETHER, model.limits.files) || size + one.file.size > HEAVY) {
        made.push((last = []));
        size = 0;
      }
      last.push(one);
      size += one.file.size;
    }
    return made;
  };
  // An archive may take longer than a request may: the service works on it while the page asks how far it is.
  const rowsOf = async ({ name }) => {
    for (;;) {
      const told = await ask(`jobs/${name}`);
      if (told.state === "done" || told.state === "failed") await ask(`jobs/${name}`, { method: "DELETE" });
      if (told.state === "failed") throw new Error(told.error);
      if (told.state === "done") return told.rows;
      said.textContent = told.total === undefined ? "an archive is read" : `${told.done} of ${told.total} samples of an archive are scored`;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };
  const send = async (portion) => {
    const form = new FormData();
    for (const { file, name } of portion) form.append("files", file, name);
    try {
      const one = { method: "POST", body: form }, later = ARCHIVE.test(portion[0].name);
      for (const row of later ? await rowsOf(await ask("jobs?maps=true", one)) : await ask("score?maps=true", one)) rows.push(named(row));
    } catch (error) {
      trouble.textContent = error.message;
      for (const { name } of portion) rows.push(named({ name, reason: error.message }));
    }
  };
  const take = async (files) => {
    if (!files.length || !model) return;
    const known = portions(files.filter(({ name }) => !/(^|\/)\./.test(name)));
    trouble.textContent = "";
    waiting += files.length;
    const queue = [...known];
    const work = async () => {
      for (let portion = queue.shift(); portion; portion = queue.shift()) {
        await send(portion);
        ended += portion.length;
        Object.assign(bar, { hidden: false, max: waiting, value: ended });
        said.textContent = `${ended} of ${waiting} files are answered`;
      }
    };
    said.textContent = `${files.length} files are sent`;
    await Promise.all([work(), work()]);
    draw();
    bar.hidden = ended >= waiting;
    said.textContent = `${rows.length} samples`;
  };
  const within = async (entry) => {
    if (entry.isFile) return [{ file: await new Promise((yes, no) => entry.file(yes, no)), name: entry.fullPath.replace(/^\//, "") }];
    const reader = entry.createReader(), found = [];
    for (;;) {
      const some = await new Promise((yes, no) => reader.readEntries(yes, no));
      if (!some.length) return found;
      for (const one of some) found.push(...await within(one));
    }
  };
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files].map((file) => ({ file, name: file.name }));
    take(entries.length ? (await Promise.all(entries.map(within))).flat() : files);
  });
  chosen.addEventListener("change", () => {
    take([...chosen.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    chosen.value = "";
  });
  again.addEventListener("click", () => {
    stop();
    [rows, waiting, ended] = [[], 0, 0];
    place.replaceChildren();
    said.textContent = "";
    again.hidden = find("[data-map]").hidden = true;
  });
  find("[data-key]").addEventListener("submit", (event) => {
    event.preventDefault();
    key = find("[data-key] input").value.trim();
    meet();
  });
  addEventListener("pagehide", () => localStorage.removeItem(`unlikelihood triage ${session}`));
  meet();
}
