"use strict";
// Three planes through a volume, which meet in one voxel, with its map over them: a wheel or a slider scrolls, a click
// moves the other planes there, and dragging changes the window (left and right) and its level (up and down).
function view(place, { shape, mm, ends, limits, voxels, map, start, edges }, fade) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const levels = new Uint16Array(bytes(voxels).buffer), heat = map ? bytes(map) : null;
  const [D, H, W] = shape, names = ["axial", "coronal", "sagittal"];
  // Across, down and along: the axes of a plane; from the side, the first axis grows upward.
  const planes = [[0, 1, 2, false], [1, 0, 2, true], [2, 0, 1, true]], strides = [H * W, W, 1];
  const at = start ? [...start] : shape.map((size) => Math.floor(size / 2));
  const [low, high] = ends, span = high - low || 1;
  let level = (limits[0] + limits[1]) / 2, width = limits[1] - limits[0] || 1;
  const make = (tag, given = {}, ...parts) => {
    const made = Object.assign(document.createElement(tag), given);
    made.append(...parts);
    return made;
  };
  const views = planes.map(([across, down, along, upward], number) => {
    const canvas = make("canvas", { width: shape[along], height: shape[down] });
    const said = make("output"), frame = make("div", { className: "view" }, canvas);
    const slider = make("input", { type: "range", min: 0, max: shape[across] - 1, step: 1 });
    canvas.setAttribute("role", "img");
    slider.setAttribute("aria-label", `${names[number]} slice`);
    canvas.style.aspectRatio = `${shape[along] * mm[along]} / ${shape[down] * mm[down]}`;
    ["left", "right", "top", "bottom"].forEach((side, place) => {
      frame.append(make("span", { className: side, textContent: edges[number][place].trim() }));
    });
    place.querySelector(".planes").append(make("figure", {}, make("figcaption", {}, said), frame, slider));
    return { canvas, said, slider, across, down, along, upward, name: names[number] };
  });
  const sliders = {};
  for (const [name, least] of [["level", low - span / 2], ["width", span / 500]]) {
    const slider = make("input", { type: "range", min: least, max: name === "level" ? high + span / 2 : 2 * span, step: span / 500 });
    const said = make("output");
    slider.setAttribute("aria-label", `${name} of the window`);
    slider.addEventListener("input", () => {
      if (name === "level") level = Number(slider.value);
      else width = Number(slider.value);
      draw();
    });
    place.querySelector(".windows").append(make("label", {}, name, slider, said));
    sliders[name] = { slider, said };
  }
  const paint = ({ canvas, across, down, along, upward }) => {
    const context = canvas.getContext("2d"), { width: wide, height: tall } = canvas;
    const image = context.createImageData(wide, tall), share = fade ? fade.value / 100 : 1;
    const scale = 255 / width, bottom = level - width / 2, dim = heat ? 1 - 0.4 * share : 1;
    for (let row = 0, pixel = 0; row < tall; row += 1) {
      const line = at[across] * strides[across] + (upward ? tall - 1 - row : row) * strides[down];
      for (let column = 0; column < wide; column += 1, pixel += 4) {
        const voxel = line + column * strides[along], value = low + (levels[voxel] / 65535) * span;
        const grey = Math.min(Math.max((value - bottom) * scale, 0), 255) * dim;
        const opacity = heat ? Math.min(1, heat[voxel] / 127.5) * share : 0;
        for (let colour = 0; colour < 3; colour += 1) {
          image.data[pixel + colour] = heat ? (1 - opacity) * grey + opacity * HEAT[3 * heat[voxel] + colour] : grey;
        }
        image.data[pixel + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  };
  const draw = () => {
    for (const each of views) {
      paint(each);
      const text = `${each.name} ${at[each.across] + 1} of ${shape[each.across]}`;
      each.said.textContent = text;
      each.slider.value = at[each.across];
      each.slider.setAttribute("aria-valuetext", text);
      each.canvas.setAttribute("aria-label", `${text}${heat ? ", with its map" : ""}`);
    }
    for (const [name, value] of [["level", level], ["width", width]]) {
      sliders[name].slider.value = value;
      sliders[name].said.textContent = Number(value.toPrecision(3));
    }
  };
  const go = (axis, to) => {
    at[axis] = Math.min(Math.max(Math.round(to), 0), shape[axis] - 1);
    draw();
  };
  for (const each of views) {
    const { canvas, across, down, along, upward } = each;
    let held = null, turned = 0;
    each.slider.addEventListener("input", () => go(across, Number(each.slider.value)));
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey) return;
      event.preventDefault();
      turned += event.deltaMode ? 40 * Math.sign(event.deltaY) : event.deltaY;
      if (Math.abs(turned) < 40) return;
      go(across, at[across] + Math.sign(turned));
      turned = 0;
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, y: event.clientY, level, width, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      const x = event.clientX - held.x, y = event.clientY - held.y;
      held.moved ||= Math.hypot(x, y) > 4;
      if (!held.moved) return;
      width = Math.max(held.width + (x / 200) * span, span / 500);
      level = held.level + (y / 200) * span;
      draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (held && !held.moved) {
        const box = canvas.getBoundingClientRect();
        const row = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
        at[along] = Math.min(Math.max(Math.floor(((event.clientX - box.left) / box.width) * canvas.width), 0), shape[along] - 1);
        go(down, upward ? shape[down] - 1 - row : row);
      }
      held = null;
    });
  }
  if (fade) fade.addEventListener("input", draw);
  draw();
}
