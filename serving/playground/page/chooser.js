// The combobox for choosing a bot: https://www.w3.org/WAI/ARIA/apg/patterns/combobox/

import { byId, clean, make } from "./dom.js";

const MAX_OPTIONS = 50; // options in the page at once; typing finds others among thousands

/** Set up the combobox; `chosen(name)` is called for every choice of the user. */
export function chooser(chosen) {
  const box = byId("bot");
  const list = byId("bots");
  let bots = [];
  let current = "";
  let active = -1;

  const options = () => [...list.children];
  const isOpen = () => !byId("popup").hidden;

  function close() {
    byId("popup").hidden = true;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
    box.value = current;
  }

  function open(word) {
    const wanted = word.trim().toLowerCase();
    const first = bots.filter((bot) => bot.name.startsWith(wanted));
    const found = wanted ? [...first, ...bots.filter((bot) => bot.name.indexOf(wanted) > 0)] : bots;
    list.replaceChildren(...found.slice(0, MAX_OPTIONS).map(option));
    const number = (count) => count.toLocaleString("en");
    byId("count").textContent = !found.length
      ? `No bot has “${clean(word).slice(0, 40)}” in its name.`
      : found.length > MAX_OPTIONS ? `${MAX_OPTIONS} of ${number(found.length)} shown; type to find others` : `${number(found.length)} found`;
    byId("popup").hidden = false;
    box.setAttribute("aria-expanded", "true");
    activate(wanted ? 0 : Math.max(0, found.findIndex((bot) => bot.name === current)));
  }

  function option(bot, index) {
    const versions = [bot.champion && `version ${bot.champion}`, bot.challenger && `challenger ${bot.challenger}`];
    const about = make("span", { className: "soft" }, clean(versions.filter(Boolean).join(", ")));
    const item = make("li", { id: `option-${index}`, role: "option" }, make("span", {}, clean(bot.name)), " ", about);
    item.addEventListener("click", () => pick(bot.name));
    item.dataset.name = bot.name;
    return item;
  }

  function activate(index) {
    active = Math.min(options().length - 1, Math.max(0, index));
    box.removeAttribute("aria-activedescendant");
    for (const [place, item] of options().entries()) {
      item.setAttribute("aria-selected", String(place === active));
      if (place !== active) continue;
      box.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    }
  }

  function pick(name) {
    current = name;
    close();
    chosen(name);
  }

  box.addEventListener("input", () => open(box.value));
  box.addEventListener("click", () => (isOpen() ? close() : open("")));
  box.addEventListener("focus", () => box.select());
  box.addEventListener("blur", close);
  byId("popup").addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
  box.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
    if (event.key in moves && !event.altKey) {
      event.preventDefault();
      if (isOpen()) activate(active + moves[event.key]);
      else open("");
    } else if (event.key === "Enter" && isOpen() && !event.isComposing) {
      event.preventDefault();
      if (options()[active]) pick(options()[active].dataset.name);
    } else if (event.key === "Escape" && isOpen()) {
      event.preventDefault();
      close();
    }
  });

  return {
    /** Set the bots to choose from; an open list stays open. */
    fill(known) {
      bots = known;
      box.placeholder = bots.length ? "Find a bot" : "There is no bot here";
    },
    /** Show the page's choice. */
    show(name) {
      current = clean(name);
      box.value = current;
    },
  };
}
