// The editor of lit-inpaint's page: a photograph, the hole and guide lines above it, each a canvas of the preview's size.
(() => {
  const editor = { tool: "brush", layer: "hole", size: 24, past: [], width: 0, height: 0, zoom: 1 };
  const fingers = new Map();  // {pointer: its place}
  const colours = { hole: "#ff3b6b", lines: "#00c2ff" };
  const find = (selector) => document.querySelector("#editor " + selector);
  const canvas = (name) => find("canvas." + name);
  const contextOf = (name) => canvas(name).getContext("2d", { willReadFrequently: true });

  editor.bind = () => {
    const stage = find(".stage");
    document.querySelector("#editor .bar").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.tool) editor.tool = button.dataset.tool;
      if (button.dataset.layer) editor.layer = button.dataset.layer;
      if (button.dataset.do === "undo") undo();
      if (button.dataset.do === "clear") clear();
      if (button.dataset.zoom) zoom(editor.zoom * Number(button.dataset.zoom), ...middle(find(".view")));
      mark();
    });
    find("input.size").addEventListener("input", (event) => { editor.size = Number(event.target.value); });
    stage.addEventListener("pointerdown", start);
    stage.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, stop);
    find(".view").addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(editor.zoom * Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
    }, { passive: false });
    addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key !== "z" || event.target.closest("input, textarea")) return;
      event.preventDefault();
      undo();
    });
    stage.addEventListener("dragover", (event) => event.preventDefault());
    stage.addEventListener("drop", (event) => {
      event.preventDefault();
      const input = document.querySelector("#photo input[type=file]");
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
    mark();
  };

  function mark() {
    for (const button of document.querySelectorAll("#editor .bar button")) {
      const on = button.dataset.tool === editor.tool || button.dataset.layer === editor.layer;
      button.setAttribute("aria-pressed", String(on));
    }
  }

  function place(event) {
    const box = canvas("hole").getBoundingClientRect();
    return [(event.clientX - box.left) * editor.width / box.width, (event.clientY - box.top) * editor.height / box.height];
  }

  function middle(element) {
    const box = element.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  }

  // The point of the picture at (x, y) of the window stays there.
  function zoom(times, x, y) {
    const view = find(".view"), stage = find(".stage"), box = stage.getBoundingClientRect();
    const [u, v] = [(x - box.left) / box.width, (y - box.top) / box.height];
    editor.zoom = Math.min(16, Math.max(1, times));
    stage.style.setProperty("--zoom", editor.zoom);
    const after = stage.getBoundingClientRect();
    view.scrollBy(after.left + u * after.width - x, after.top + v * after.height - y);
  }

  // Two fingers: their distance and the place between them.
  function pinch() {
    const [[x, y], [u, v]] = fingers.values();
    return [Math.hypot(u - x, v - y), (x + u) / 2, (y + v) / 2];
  }

  function pinched() {
    const [far, x, y] = editor.pinch;
    editor.pinch = pinch();
    zoom(editor.zoom * editor.pinch[0] / far, x, y);
    find(".view").scrollBy(x - editor.pinch[1], y - editor.pinch[2]);
  }

  function remember(layer = editor.layer) {
    editor.past.push([layer, contextOf(layer).getImageData(0, 0, editor.width, editor.height)]);
    if (editor.past.length > 12) editor.past.shift();
  }

  function undo() {
    const last = editor.past.pop();
    if (last) contextOf(last[0]).putImageData(last[1], 0, 0);
  }

  function clear() {
    if (!editor.width) return;
    remember();
    contextOf(editor.layer).clearRect(0, 0, editor.width, editor.height);
  }

  function start(event) {
    if (!editor.width || event.button > 0 || fingers.size > 1) return;
    event.preventDefault();
    find(".view").focus({ preventScroll: true });
    find(".stage").setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size > 1) {  // the first finger was not painting
      if (editor.from) undo();
      editor.from = null;
      editor.pinch = pinch();
      return;
    }
    remember();
    editor.from = editor.last = place(event);
    editor.before = editor.past[editor.past.length - 1][1];
    if (editor.tool !== "rectangle") stroke(editor.last);
  }

  function move(event) {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size > 1) pinched();
    if (!editor.from) return;
    const to = place(event);
    if (editor.tool !== "rectangle") { stroke(to); return; }
    const context = contextOf(editor.layer);
    context.putImageData(editor.before, 0, 0);
    const [x, y] = editor.from.map(Math.round), [u, v] = to.map(Math.round);
    context.fillStyle = colours[editor.layer];
    context.fillRect(Math.min(x, u), Math.min(y, v), Math.abs(u - x), Math.abs(v - y));
  }

  function stop(event) {
    fingers.delete(event.pointerId);
    editor.from = null;
  }

  function stroke(to) {
    const context = contextOf(editor.layer);
    context.globalCompositeOperation = editor.tool === "eraser" ? "destination-out" : "source-over";
    context.strokeStyle = colours[editor.layer];
    context.lineWidth = editor.layer === "lines" && editor.tool === "brush" ? 2 : editor.size;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...editor.last);
    context.lineTo(to[0], to[1] + 0.01);
    context.stroke();
    context.globalCompositeOperation = "source-over";
    editor.last = to;
  }

  async function picture(url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
  }

  // {image, width, height} starts over, with no image if it is ""; {hole} replaces the hole.
  editor.show = async (given) => {
    if (!given) return;
    if (given.image === "") {
      [editor.width, editor.height, editor.past] = [0, 0, []];
      for (const name of ["photo", "hole", "lines"]) Object.assign(canvas(name), { width: 0, height: 0 });
      find(".stage").removeAttribute("style");
      delete find(".stage").dataset.loaded;
    }
    if (given.image) {
      const image = await picture(given.image);
      [editor.width, editor.height, editor.past] = [given.width, given.height, []];
      for (const name of ["photo", "hole", "lines"]) Object.assign(canvas(name), { width: given.width, height: given.height });
      contextOf("photo").drawImage(image, 0, 0);
      editor.zoom = 1;
      find(".stage").style.cssText = `aspect-ratio: ${given.width} / ${given.height}; --shape: ${given.width / given.height}`;
      find(".stage").dataset.loaded = "1";
    }
    if (given.hole) {
      const image = await picture(given.hole);
      const context = contextOf("hole");
      if (!given.image) remember("hole");
      context.clearRect(0, 0, editor.width, editor.height);
      context.drawImage(image, 0, 0);
      const drawn = context.getImageData(0, 0, editor.width, editor.height);
      for (let i = 0; i < drawn.data.length; i += 4) {
        const on = drawn.data[i] > 127;
        drawn.data.set(on ? [255, 59, 107, 255] : [0, 0, 0, 0], i);
      }
      context.putImageData(drawn, 0, 0);
    }
  };

  // A layer as a black and white PNG, white where it is painted; "" before a photograph is there.
  editor.read = (name) => {
    if (!editor.width) return "";
    const copy = document.createElement("canvas");
    Object.assign(copy, { width: editor.width, height: editor.height });
    const context = copy.getContext("2d");
    const drawn = contextOf(name).getImageData(0, 0, editor.width, editor.height);
    for (let i = 0; i < drawn.data.length; i += 4) {
      const value = drawn.data[i + 3] > 127 ? 255 : 0;
      drawn.data.set([value, value, value, 255], i);
    }
    context.putImageData(drawn, 0, 0);
    return copy.toDataURL("image/png");
  };
  window.litEditor = editor;
})();
