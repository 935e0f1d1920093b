"use strict";
// Counts what the person told right, once each text has an answer; the key lies in the page, folded. Text goes in as text only.
{
  const texts = [...document.querySelectorAll(".sheet > li")];
  const key = [...document.querySelectorAll(".answers li")].map((line) => line.textContent.trim());
  const chances = new Map([...document.querySelectorAll("#chances tr")].map((row) => [+row.cells[0].textContent, row.cells[1].textContent]));
  const button = document.getElementById("tell");
  const score = document.getElementById("score");
  const answer = (text) => text.querySelector("input:checked")?.value;

  function show(text, place) {
    const right = answer(text) === key[place];
    const told = text.querySelector(".told");
    text.classList.add(right ? "right" : "wrong");
    told.textContent = `${right ? "✓" : "✗"} it is ${key[place]}`;
    told.hidden = false;
    for (const input of text.querySelectorAll("input")) input.disabled = true;
    return right;
  }

  function tell() {
    const open = texts.filter((text) => !answer(text));
    if (open.length) {
      score.textContent = `${open.length} of ${texts.length} ${open.length === 1 ? "has" : "have"} no answer yet.`;
      open[0].querySelector("input").focus();
      return;
    }
    const right = texts.map(show).filter(Boolean).length;
    const chance = chances.get(right);
    score.textContent =
      `You told ${right} of ${texts.length}; chance is ${texts.length / 2}. ` +
      (chance ? `So good or better comes by tossing a coin ${chance}.` : "That is no better than tossing a coin.");
    button.hidden = true;
    document.getElementById("answers").open = true;
  }

  button.hidden = false;
  button.addEventListener("click", tell);
}
