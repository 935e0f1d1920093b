// Renders the part of Markdown that model cards use as nodes: headings, paragraphs, lists, tables, fences, code, bold, links.
// Everything else stays text; pictures are named and never fetched. Repetitions are bounded, so that no card can hang the page.

import { clean, make } from "./dom.js";

const SECTION = "h4"; // the level of ## below the page's own headings
const HEADING = /^(#{1,6}) +(.*)/;
const FENCE = /^(`{3,}|~{3,})/;
const RULE = /^\|[\s:|-]+$/; // the second line of a table
const ITEM = /^(?:[-*+]|(\d{1,9})[.)]) +/;
const INLINE =
  /``([^]{1,400}?)``|`([^`]{1,400})`|(!?)\[([^[\]]{0,300})\]\(([^()\s]{0,500})\)|\*\*([^*]{1,500})\*\*/g;
const REFERENCE = /&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|(amp|lt|gt|quot|nbsp));/g;
const AVATAR = /<img src="avatar-\d{1,3}\.png"[^<>]{0,80} alt="">&nbsp; /g; // a decoration, before an author's name
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0" };

/** Return the card as a fragment, with folded sections and without its front matter. */
export function render(source) {
  const lines = clean(source).replace(AVATAR, "").split("\n");
  const out = document.createDocumentFragment();
  let section = out;
  let at = lines[0].trim() === "---" ? lines.indexOf("---", 1) + 1 : 0;
  while (at < lines.length) {
    const [node, next] = block(lines, at);
    if (node?.localName === SECTION) out.append((section = make("details", {}, make("summary", {}, node))));
    else if (node) section.append(node);
    at = next;
  }
  return out;
}

function block(lines, at) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const heading = HEADING.exec(line);
  if (heading) return [inline(heading[2], make(`h${Math.min(6, heading[1].length + 2)}`)), at + 1];
  const fence = FENCE.exec(line);
  if (fence) {
    const end = lines.findIndex((other, place) => place > at && other.startsWith(fence[1]));
    const stop = end < 0 ? lines.length : end;
    return [scrolled(make("pre", {}, lines.slice(at + 1, stop).join("\n")), "Code"), stop + 1];
  }
  if (line.startsWith("|") && RULE.test(lines[at + 1] ?? "")) return table(lines, at);
  if (ITEM.test(line)) return list(lines, at);
  let end = at + 1;
  while (end < lines.length && !starts(lines[end])) end += 1;
  return [paragraph(lines.slice(at, end)), end];
}

const starts = (line) => !line.trim() || line.startsWith("|") || [HEADING, FENCE, ITEM].some((kind) => kind.test(line));

function paragraph(lines) {
  const made = inline(lines.map((line) => line.trim()).join(" "), make("p", { dir: "auto" }));
  return made.hasChildNodes() ? made : null;
}

function list(lines, at) {
  const made = make(ITEM.exec(lines[at])[1] ? "ol" : "ul");
  while (at < lines.length && ITEM.test(lines[at])) {
    const words = [lines[at].replace(ITEM, "")];
    for (at += 1; at < lines.length && !starts(lines[at]); at += 1) words.push(lines[at].trim());
    made.append(inline(words.join(" "), make("li", { dir: "auto" })));
  }
  return [made, at];
}

function table(lines, at) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").slice(0, 50);
  const right = cells(lines[at + 1]).map((cell) => cell.trim().endsWith(":"));
  const row = (line, tag) =>
    make("tr", {}, ...cells(line).map((cell, column) => inline(cell.trim(), make(tag, { className: right[column] ? "right" : "" }))));
  const made = make("tbody");
  const head = make("thead", {}, row(lines[at], "th"));
  for (at += 2; at < lines.length && lines[at].startsWith("|"); at += 1) made.append(row(lines[at], "td"));
  return [scrolled(make("table", {}, head, made), "Table"), at];
}

/** Wrap an element that can be wider than the page in its own scroll area, accessible by keyboard. */
function scrolled(element, ariaLabel) {
  return make("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel }, element);
}

function inline(text, parent) {
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, twice, once, picture, label, target, bold] = match;
    parent.append(...words(text.slice(from, match.index)));
    from = match.index + whole.length;
    if (twice ?? once) parent.append(make("code", {}, twice ?? once));
    else if (bold) parent.append(make("strong", {}, ...words(bold)));
    else if (!picture) parent.append(...link(words(label).join(""), target));
    else if (target !== "predictions.png") parent.append(`[picture: ${words(label).join("")}]`); // ours stands above the card
  }
  parent.append(...words(text.slice(from)));
  return parent;
}

/** Resolve character references, after the structure was parsed, so that they cannot change it. */
function words(text) {
  const resolved = text.replace(REFERENCE, (_, ten, sixteen, name) => NAMED[name] ?? character(parseInt(ten ?? sixteen, ten ? 10 : 16)));
  return resolved ? [clean(resolved)] : [];
}

const character = (code) => (code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? "\ufffd" : String.fromCodePoint(code));

/** Return a web link followed by its host; other addresses are not linked. */
function link(label, target) {
  const url = URL.parse?.(target) ?? null;
  if (!url || !["http:", "https:"].includes(url.protocol) || url.username || url.password) return [label];
  const made = make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, label || url.host);
  return [made, make("span", { className: "soft" }, ` (${url.host})`)];
}
