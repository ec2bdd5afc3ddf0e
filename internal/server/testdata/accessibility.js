// What is wrong with a page for those who do not see it as we do: each function
// answers with a list of sentences. Rules are those of WCAG 2.2 at level AA.
(() => {
  const visible = e => e.checkVisibility({visibilityProperty: true, opacityProperty: true});
  const all = selector => [...document.querySelectorAll(selector)].filter(visible);
  const name = e => {
    const id = e.id ? "#" + e.id : "";
    const kind = typeof e.className === "string" && e.className ? "." + e.className.trim().split(/\s+/).join(".") : "";
    const text = (e.innerText ?? e.textContent ?? "").trim().slice(0, 40);
    return `<${e.localName}${id}${kind}>${text ? " “" + text + "”" : ""}`;
  };

  // Colours as the browser paints them, whatever their notation.
  const pixel = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const rgba = colour => {
    if (!known.has(colour)) {
      pixel.clearRect(0, 0, 1, 1);
      pixel.fillStyle = colour;
      pixel.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((x, y) => y - x);
    return (x + 0.05) / (y + 0.05);
  };
  const canvas = () => {
    const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches;
    return dark ? [18, 18, 18, 1] : [255, 255, 255, 1];
  };
  const behind = e => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, layer) => over(layer, under), canvas());
  };
  const opacity = e => {
    let o = 1;
    for (let at = e; at; at = at.parentElement) o *= Number(getComputedStyle(at).opacity);
    return o;
  };

  const contrast = () => {
    const wrong = new Map();
    const judge = (e, colour, what) => {
      if (e.closest(":disabled, [aria-disabled=true]")) return;
      const back = behind(e);
      const [r, g, b, a] = rgba(colour);
      const found = ratio(over([r, g, b, a * opacity(e)], back), back);
      if (found < 4.5) wrong.set(what + getComputedStyle(e).color + back, `${what} ${name(e)}: contrast ${found.toFixed(2)}, want 4.5 (${colour} on ${back.slice(0, 3).map(Math.round)})`);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const e = texts.currentNode.parentElement;
      if (!texts.currentNode.data.trim() || ["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "OPTION"].includes(e.tagName) || !visible(e)) continue;
      const style = getComputedStyle(e);
      judge(e, e instanceof SVGElement ? style.fill : style.color, "text");
    }
    for (const e of all("input:not([type=checkbox], [type=radio], [type=hidden]), textarea, select")) {
      judge(e, getComputedStyle(e).color, "field");
      if (e.placeholder) judge(e, getComputedStyle(e, "::placeholder").color, "placeholder");
    }
    return [...wrong.values()];
  };

  const structure = () => {
    const wrong = [];
    const root = document.documentElement;
    const dir = {fa: "rtl", en: "ltr"}[root.lang];
    if (!dir || root.dir !== dir) wrong.push(`<html lang="${root.lang}" dir="${root.dir}">: want fa and rtl, or en and ltr`);
    if (!document.title.trim()) wrong.push("the page has no title");
    if (all("main").length !== 1) wrong.push(`${all("main").length} <main>, want one`);
    const headings = all("h1, h2, h3, h4, h5, h6");
    if (headings.filter(h => h.localName === "h1").length !== 1) wrong.push(`h1: ${headings.filter(h => h.localName === "h1").map(name)}, want one`);
    let last = 0;
    for (const h of headings) {
      const level = Number(h.localName[1]);
      if (level > last + 1) wrong.push(`${name(h)} follows a heading of level ${last}`);
      if (!h.innerText.trim()) wrong.push(`${name(h)} is empty`);
      last = level;
    }
    for (const e of all("input:not([type=hidden], [type=submit], [type=button], [type=reset]), select, textarea")) {
      const label = [...e.labels].map(l => l.textContent).join("") + (e.getAttribute("aria-label") ?? "") +
        (e.getAttribute("aria-labelledby") ?? "").split(/\s+/).map(id => document.getElementById(id)?.textContent ?? "").join("");
      if (!label.trim()) wrong.push(`${name(e)} name=${e.name} has no label`);
    }
    for (const e of all("table")) if (!e.querySelector("th")) wrong.push(`${name(e)} has no head`);
    for (const e of all("iframe")) if (!e.title) wrong.push(`${name(e)} has no title`);
    const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
    for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) wrong.push(`#${id} stands on several elements`);
    for (const attribute of ["for", "aria-labelledby", "aria-describedby", "aria-controls"])
      for (const e of document.querySelectorAll(`[${attribute}]`))
        for (const id of e.getAttribute(attribute).split(/\s+/))
          if (id && !document.getElementById(id)) wrong.push(`${name(e)} ${attribute}="${id}" names nothing`);
    return wrong;
  };

  // What sticks out at the sides, so that one has to scroll for it.
  const width = () => {
    const want = screen.width;
    const found = document.documentElement.scrollWidth;
    if (found <= want) return [];
    const scrolls = e => e && (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
    const out = all("body *").filter(e => {
      const r = e.getBoundingClientRect();
      return (r.right > want + 1 || r.left < -1) && !scrolls(e.parentElement);
    });
    return [`the page is ${found} px wide on a screen of ${want}: ${out.slice(0, 5).map(name).join(", ")}`];
  };

  // What the keyboard must reach; of a group of radio buttons, one. What is in a
  // frame is another page's.
  const stops = () => {
    const root = [...document.querySelectorAll("dialog")].findLast(d => d.matches(":modal")) ?? document;
    const groups = new Set();
    return [...root.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex], [contenteditable]")].filter(e => {
      if (e.tabIndex < 0 || e.disabled || !e.checkVisibility({visibilityProperty: true}) || e.closest("[inert]")) return false;
      if (e.type !== "radio") return true;
      const group = e.name + "\n" + (e.form?.action ?? "");
      return !groups.has(group) && groups.add(group);
    });
  };
  let wanted = [];
  const reached = new Map();
  const focusShows = e => {
    const style = getComputedStyle(e);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 && rgba(style.outlineColor)[3] > 0) || style.boxShadow !== "none";
  };
  const walk = () => {
    document.activeElement?.blur();
    reached.clear();
    if (!window.walking) document.addEventListener("focusin", e => reached.set(e.target, focusShows(e.target)));
    window.walking = true;
    wanted = stops(); // what comes later may come behind where one is
    // A date has a stop for each of its parts.
    return wanted.reduce((n, e) => n + (/^(date|time|month|week)/.test(e.type) ? 8 : 1), 0);
  };
  const walked = () => {
    const group = e => e.type === "radio" ? [...document.getElementsByName(e.name)] : [e];
    return [
      ...wanted.filter(e => e.isConnected && !group(e).some(g => reached.has(g) || g === document.activeElement)).map(e => `${name(e)} is not reached with the Tab key`),
      ...[...reached].filter(([, shows]) => !shows).map(([e]) => `${name(e)} does not show that it has the focus`),
    ];
  };

  window.accessibility = {contrast, structure, width, walk, walked};
})();
