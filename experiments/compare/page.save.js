"use strict";
// Charts as files: SVG with its styles written out; PDF with Helvetica, which every reader has.
const saving = (() => {
  const SHAPES = "line, path, circle, text";
  const STYLED = [
    "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "paint-order",
  ];
  const shapesOf = (svg) => [...svg.querySelectorAll(SHAPES)];

  function asSvg(svg) {
    const copy = svg.cloneNode(true);
    const copies = shapesOf(copy);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("style", `background: ${getComputedStyle(document.body).backgroundColor}; font-family: Helvetica, Arial, sans-serif`);
    for (const [index, shape] of shapesOf(svg).entries()) {
      const style = getComputedStyle(shape);
      copies[index].setAttribute("style", STYLED.map((name) => `${name}: ${style.getPropertyValue(name)}`).join("; "));
      copies[index].removeAttribute("tabindex");
    }
    for (const shape of copy.querySelectorAll("[visibility=hidden]")) shape.remove();
    return new XMLSerializer().serializeToString(copy);
  }

  function circle(x, y, r) {
    const k = 0.5523 * r; // four Bézier curves
    const quarters = [[r, k, k, r, 0, r], [-k, r, -r, k, -r, 0], [-r, -k, -k, -r, 0, -r], [k, -r, r, -k, r, 0]];
    return [`${x + r} ${y} m`, ...quarters.map(([a, b, c, d, e, f]) => `${x + a} ${y + b} ${x + c} ${y + d} ${x + e} ${y + f} c`)];
  }
  function path(d) {
    let [x, y] = [0, 0];
    return [...d.matchAll(/([MLHV])\s*([^MLHV]*)/g)].map(([, letter, numbers]) => {
      const values = numbers.trim().split(/[\s,]+/).map(Number);
      if (letter === "H") [x] = values;
      else if (letter === "V") [y] = values;
      else [x, y] = values;
      return `${x} ${y} ${letter === "M" ? "m" : "l"}`;
    });
  }
  const colour = (value) => (value.match(/[\d.]+/g) || [0, 0, 0]).slice(0, 3).map((v) => (v / 255).toFixed(3)).join(" ");
  const latin = (text) => [...text].map((c) => (c.charCodeAt(0) < 256 ? c : "?")).join("").replace(/[\\()]/g, "\\$&");

  function drawn(shape) {
    const style = getComputedStyle(shape);
    const at = (name) => Number(shape.getAttribute(name));
    const dash = (style.strokeDasharray.match(/[\d.]+/g) || []).join(" ");
    const pen = `${colour(style.fill)} rg ${colour(style.stroke)} RG ${parseFloat(style.strokeWidth)} w [${dash}] 0 d`;
    const strokes = {
      line: () => [`${at("x1")} ${at("y1")} m ${at("x2")} ${at("y2")} l S`],
      path: () => [...path(shape.getAttribute("d")), "S"],
      circle: () => [...circle(at("cx"), at("cy"), at("r")), "B"],
      text: () => {
        const share = { middle: 0.5, end: 1 }[shape.getAttribute("text-anchor")] || 0;
        const x = at("x") - share * shape.getComputedTextLength();
        return [`BT /F1 ${parseFloat(style.fontSize)} Tf 1 0 0 -1 ${x} ${at("y")} Tm (${latin(shape.textContent)}) Tj ET`];
      },
    };
    return ["q", pen, ...strokes[shape.tagName](), "Q"];
  }

  function asPdf(svg) {
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const visible = shapesOf(svg).filter((shape) => shape.getAttribute("visibility") !== "hidden");
    const content = [`1 0 0 -1 0 ${height} cm`, ...visible.flatMap(drawn)].join("\n");
    const objects = [
      "<< /Type /Catalog /Pages 2 0 R >>",
      "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
      `<< /Type /Page /Parent 2 0 R /MediaBox [-8 -8 ${width + 8} ${height + 8}] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>`,
      `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
      "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ];
    let file = "%PDF-1.4\n";
    const places = objects.map((object, index) => {
      const place = String(file.length).padStart(10, "0");
      file += `${index + 1} 0 obj\n${object}\nendobj\n`;
      return `${place} 00000 n \n`;
    });
    const start = file.length;
    file += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${places.join("")}`;
    file += `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`;
    return Uint8Array.from(file, (c) => c.charCodeAt(0));
  }

  // Two buttons that save a chart.
  return (svg, name) => {
    const row = document.createElement("p");
    row.className = "save";
    const stem = name.split(".")[0].replace(/[^\w-]+/g, "-");
    for (const [suffix, type, make] of [["svg", "image/svg+xml", asSvg], ["pdf", "application/pdf", asPdf]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = suffix.toUpperCase();
      button.setAttribute("aria-label", `Save this chart as ${suffix.toUpperCase()}`);
      button.addEventListener("click", () => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([make(svg)], { type }));
        link.download = `${stem}.${suffix}`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      });
      row.append(button);
    }
    return row;
  };
})();
