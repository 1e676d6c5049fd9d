// Lets the times of a meeting's sentences play the recording from there, and marks the sentence that is heard. Without
// it the page says the same, and the player plays.
"use strict";
const player = document.querySelector("audio[data-player]");
if (player) {
  const said = [...document.querySelectorAll("li[data-start]")];
  for (const item of said) {
    const at = item.querySelector(".at");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "at";
    button.textContent = at.textContent;
    button.setAttribute("aria-label", `Play from ${at.textContent}`);
    at.replaceWith(button);
    button.addEventListener("click", () => {
      player.currentTime = Number(item.dataset.start);
      player.play().catch(() => {}); // a browser may refuse to play by itself; the place is found all the same
    });
  }
  player.addEventListener("timeupdate", () => {
    const now = player.currentTime;
    for (const item of said) {
      item.classList.toggle("heard", Number(item.dataset.start) <= now && now < Number(item.dataset.end));
    }
  });
}
