"use strict";
addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form");
  const key = form.elements.key;
  const said = document.getElementById("said");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    said.textContent = "";
    key.removeAttribute("aria-invalid");
    if (!key.value.trim()) return refuse("Paste your key here.");
    button.disabled = true;
    try {
      await headgate.api("POST", "/admin/session", { key: key.value });
      location.assign(form.dataset.next);
    } catch (error) {
      refuse(error.wait ? `${error.message} (${headgate.format.seconds(error.wait)})` : error.message);
    } finally {
      button.disabled = false;
    }
  });

  function refuse(why) {
    said.textContent = why;
    key.setAttribute("aria-invalid", "true");
    key.focus();
    key.select();
  }
});
