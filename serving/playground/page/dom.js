// Creates nodes from text, never from markup: no text of a bot, a card or a link is parsed as HTML on this page.

// Bidirectional controls reorder what a reader sees, and invisible characters hide text; new lines and tabs stay.
const UNSEEN =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

export const byId = (id) => document.getElementById(id);

/** Return text without misleading characters. */
export const clean = (text) => String(text).replace(UNSEEN, "");

/** Create an element with properties and children; strings become text nodes. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
