"use strict";
// Counts the correct answers once each text has one; the key is in the page, folded. Text is inserted as text only.
{
  const texts = [...document.querySelectorAll(".sheet > li")];
  const key = [...document.querySelectorAll(".answers li")].map((line) => line.textContent.trim());
  const chances = new Map([...document.querySelectorAll("#chances tr")].map((row) => [+row.cells[0].textContent, row.cells[1].textContent]));
  const button = document.getElementById("check");
  const score = document.getElementById("score");
  const answer = (text) => text.querySelector("input:checked")?.value;

  function show(text, number) {
    const right = answer(text) === key[number];
    const result = text.querySelector(".result");
    text.classList.add(right ? "right" : "wrong");
    result.textContent = `${right ? "✓" : "✗"} it is ${key[number]}`;
    result.hidden = false;
    for (const input of text.querySelectorAll("input")) input.disabled = true;
    return right;
  }

  function check() {
    const open = texts.filter((text) => !answer(text));
    if (open.length) {
      score.textContent = `${open.length} of ${texts.length} ${open.length === 1 ? "has" : "have"} no answer yet.`;
      open[0].querySelector("input").focus();
      return;
    }
    const right = texts.map(show).filter(Boolean).length;
    const chance = chances.get(right);
    score.textContent =
      `${right} of ${texts.length} are correct; guessing gives ${texts.length / 2}. ` +
      (chance ? `As good or better happens by guessing ${chance}.` : "That is no better than guessing.");
    button.hidden = true;
    document.getElementById("answers").open = true;
  }

  button.hidden = false;
  button.addEventListener("click", check);
}
