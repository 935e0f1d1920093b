// The playground: choose a bot, ask it, share what was asked. The state lies in the URL's fragment, which no server sees.

import { chooser } from "./chooser.js";
import { byId, clean, make } from "./dom.js";
import { render } from "./markdown.js";
import { events, keepKey, request } from "./server.js";

const form = byId("ask");
const numbers = ["n", "max_tokens", "temperature", "top_p", "seed"];
let bots = [];
let chosen = "";
let lastSeed = "";
let running = null; // the AbortController of the answers that are being written
let retry = null; // what waits for an API key

const choose = chooser((name) => select(name));
const say = (text) => (byId("status").textContent = text);

function complain(text) {
  byId("problem").hidden = !text;
  byId("problem").textContent = clean(text);
}

// The bot

const load = () =>
  guarded(async () => {
    bots = await (await request("page/bots.json")).json();
    choose.fill(bots);
    byId("run").disabled = !bots.length;
    follow();
  }, load);

/** Show a bot: whether it can be compared, its picture and its card. */
function select(name) {
  chosen = name;
  choose.show(name);
  complain("");
  const bot = bots.find((known) => known.name === name);
  byId("compare-row").hidden = !bot?.challenger;
  document.title = name ? `${clean(name)} · Mynah` : "Mynah";
  byId("about-title").textContent = name ? `About ${clean(name)}` : "About the bot";
  byId("picture").hidden = true;
  byId("card").replaceChildren();
  if (bot) tellAbout(name);
  else complain(name ? `There is no bot named “${name.slice(0, 80)}” here.` : "There is no bot here yet.");
}

function tellAbout(name) {
  const address = `page/bots/${encodeURIComponent(name)}`;
  request(`${address}/picture`).then((response) => showPicture(name, response)).catch(() => {}); // a bot may have none
  const show = (...nodes) => chosen === name && byId("card").replaceChildren(...nodes);
  const showProblem = (text) => show(make("p", { className: "soft" }, clean(text)));
  guarded(async () => show(render(await (await request(`${address}/card`)).text())), () => tellAbout(name), showProblem);
}

/** Drawn, not linked: a picture's address can't carry the API key, and the page's policy allows no other source. */
async function showPicture(name, response) {
  const image = await createImageBitmap(await response.blob());
  if (chosen !== name) return;
  const canvas = byId("picture");
  Object.assign(canvas, { width: image.width, height: image.height, hidden: false, ariaLabel: `A sample of what ${name} writes` });
  canvas.getContext("2d").drawImage(image, 0, 0);
}

// The state and the link that carries it

/** What the form says; only what differs from the defaults, so that links are short. */
function state() {
  const said = new URLSearchParams({ bot: chosen, prompt: form.elements.prompt.value });
  for (const name of numbers) {
    const field = form.elements[name];
    const value = name === "seed" ? field.value || lastSeed : field.value;
    if (value !== field.defaultValue) said.set(name, value);
  }
  if (comparing()) said.set("compare", "1");
  return said;
}

const linked = () => location.hash.includes("="); // the skip link's #ask is no state
const link = () => new URLSearchParams(linked() ? location.hash.slice(1) : "");

/** Fill the form from the link; it never asks by itself, since any page can open a link. */
function restore() {
  const said = link();
  for (const name of ["prompt", ...numbers]) form.elements[name].value = said.get(name) ?? form.elements[name].defaultValue;
  byId("compare").checked = said.has("compare");
  byId("settings").open ||= numbers.some((name) => said.has(name));
}

/** Choose the link's bot, or the first, once it is known which there are. */
function follow() {
  if (linked() && document.activeElement === document.body) byId("run").focus();
  select(link().get("bot") || chosen || bots[0]?.name || "");
}

const comparing = () => byId("compare").checked && !byId("compare-row").hidden;
const remember = () => history.replaceState(null, "", `#${state()}`);

// The answers

async function run() {
  if (!form.checkValidity()) byId("settings").open = true;
  if (!form.reportValidity() || !bots.some((bot) => bot.name === chosen)) return;
  running?.abort();
  const mine = (running = new AbortController());
  const seed = form.elements.seed.value || String(crypto.getRandomValues(new Uint32Array(1))[0]);
  const asked = { prompt: form.elements.prompt.value, stream: true };
  for (const name of numbers) asked[name] = Number(form.elements[name].value);
  asked.seed = Number(seed);
  const addresses = comparing() ? [`${chosen}@champion`, `${chosen}@challenger`] : [chosen];
  lastSeed = seed;
  remember();
  complain("");
  busy(true);
  say(`${chosen} is writing …`);
  const columns = addresses.map((address) => column(address, asked));
  byId("answers").replaceChildren(...columns.map((made) => made.section));
  const ends = await Promise.all(columns.map((made) => stream(made, mine.signal)));
  if (running !== mine) return; // asked again meanwhile
  running = null;
  busy(false);
  if (!byId("card").querySelector("h3")) tellAbout(chosen); // a bot's files may come with its first answer
  const whole = ends.reduce((sum, count) => sum + count, 0);
  const all = asked.n * columns.length;
  const how = mine.signal.aborted ? "Stopped" : whole < all ? "Broken off" : "Done";
  say(`${how}: ${whole < all ? `${whole} of ` : ""}${all} ${all === 1 ? "answer" : "answers"}, seed ${seed}.`);
}

function busy(now) {
  byId("answers").ariaBusy = String(now);
  if (!now && document.activeElement === byId("stop")) byId("run").focus();
  byId("stop").disabled = !now;
}

/** A heading and an empty place for each answer. */
function column(address, asked) {
  const alias = address.split("@")[1];
  const title = make("h3", {}, alias ?? address);
  const answers = Array.from({ length: asked.n }, (_, index) => place(asked.prompt, index));
  const section = make("section", { ariaLabel: `Answers of ${address}` }, title, make("ol", {}, ...answers.map((one) => one.item)));
  return { address, asked, title, answers, section };
}

function place(prompt, index) {
  const text = document.createTextNode("");
  const button = make("button", { type: "button", className: "small", ariaLabel: `Copy answer ${index + 1}` }, "Copy");
  button.addEventListener("click", () => copied(button, clean(prompt) + text.data));
  const words = make("p", { dir: "auto" }, make("b", {}, clean(prompt)), text);
  const note = make("span", { className: "soft note" });
  return { text, note, item: make("li", { className: "writing" }, make("div", {}, words, note), button) };
}

/** Write a column's answers as they come; how many of them became whole. */
async function stream({ address, asked, title, answers, section }, signal) {
  let whole = 0;
  const show = (text) => section.append(make("p", { className: "problem", role: "alert" }, clean(text)));
  await guarded(async () => {
    const response = await request("openai/v1/completions", { body: { model: address, ...asked }, signal });
    const version = response.headers.get("X-Mynah-Version")?.split(":")[1];
    if (version) title.append(make("span", { className: "soft" }, ` version ${clean(version)}`));
    for await (const { choices = [] } of events(response)) {
      for (const { index, text, finish_reason: finish } of choices) {
        const answer = answers[index];
        answer.text.appendData(clean(text ?? ""));
        if (!finish) continue;
        whole += 1;
        answer.item.classList.remove("writing");
        if (finish === "length") answer.note.textContent = `cut after ${asked.max_tokens} tokens`;
      }
    }
  }, run, show);
  for (const { item, text } of answers) {
    item.classList.remove("writing");
    item.hidden = !text.data; // nothing came of it
  }
  return whole;
}

async function copied(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed"; // browsers have no clipboard for pages over plain http from another machine
  }
  say(button.textContent);
  setTimeout(() => (button.textContent = label), 1500);
}

// What goes wrong

/** Do it; show what the server says against it, or ask for a key and do `again` with that. */
async function guarded(doing, again, show = complain) {
  try {
    return await doing();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (error.status === 401) askForKey(again);
    show(error.status === undefined ? "The page failed to show this." : error.message);
    if (error.status === undefined) console.error(error);
  }
}

function askForKey(again) {
  retry = again;
  byId("key-form").hidden = false;
  byId("key").focus();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key").value.trim());
  byId("key").value = "";
  byId("key-form").hidden = true;
  complain("");
  form.focus();
  retry?.();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
byId("stop").addEventListener("click", () => running?.abort());
byId("share").addEventListener("click", ({ currentTarget }) => {
  remember();
  copied(currentTarget, location.href);
});
addEventListener("hashchange", () => {
  if (!linked()) return;
  restore();
  follow();
});
if (linked()) restore(); // before the bots are here, so that nothing that is typed meanwhile gets lost
load();
