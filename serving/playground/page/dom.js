// Nodes made of text, never of markup: nothing that a bot, a card or a link says is parsed as HTML anywhere on this page.

// Bidirectional controls reorder what a reader sees, and invisible characters hide text; new lines and tabs stay.
const UNSEEN =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

export const byId = (id) => document.getElementById(id);

/** Text without characters that deceive. */
export const clean = (text) => String(text).replace(UNSEEN, "");

/** An element with properties and children; strings become text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
