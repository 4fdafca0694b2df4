// Builds the page from elements and text. Nothing is ever parsed as markup, so a file may have any name.

export function h(tag, given = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "text", "rect", "circle", "polyline", "image", "title"].includes(tag) && given.svg !== false;
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false || name === "svg") continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (["value", "checked", "disabled", "open", "indeterminate", "selected"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function put(host, ...children) {
  host.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

/** A row of tabs and the sheet of the chosen one. `sheets` maps a title to an element. */
export function tabs(sheets, { label, onChoose = () => {} } = {}) {
  const names = Object.keys(sheets);
  const buttons = names.map((name, k) =>
    h("button", { role: "tab", id: `tab-${label}-${name}`, onclick: (event) => {
      choose(name);
      if (event.detail) event.currentTarget.blur(); // after a click of the mouse arrows go on turning frames
    }, onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.stopPropagation();
      const next = names[(k + step + names.length) % names.length];
      choose(next);
      buttons[names.indexOf(next)].focus();
    } }, name));
  const row = h("div", { class: "tabs", role: "tablist", "aria-label": label }, buttons);
  function choose(name) {
    names.forEach((one, k) => {
      buttons[k].setAttribute("aria-selected", String(one === name));
      buttons[k].tabIndex = one === name ? 0 : -1;
      sheets[one].classList.toggle("hidden", one !== name);
    });
    onChoose(name);
  }
  choose(names[0]);
  return { row, choose, sheets: Object.values(sheets) };
}

export function save(name, content, type = "text/plain;charset=utf-8") {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Numbers as people of the field write them. A missing one is a dash. */
export function fixed(value, decimals = 2) {
  return value === null || value === undefined || !Number.isFinite(value) ? "–" : value.toFixed(decimals).replace("-", "−");
}

export function short(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

export function formula(name) {
  return /^(?:[A-Z][a-z]?\d*)+$/.test(name) ? name.replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]) : name;
}

export function megabytes(bytes) {
  return bytes < 1 << 20 ? `${Math.max(1, Math.round(bytes / 1024))} kB` : `${(bytes / (1 << 20)).toFixed(1)} MB`;
}
