// Replaces the live part of the page every second, while the page is visible
// and nobody is selecting text in it.
"use strict";
async function refresh() {
  if (document.hidden || String(getSelection())) return;
  try {
    const response = await fetch(location.href);
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    document.getElementById("live").replaceWith(page.getElementById("live"));
  } catch (e) {
    // The server is away; the page stays as it is.
  }
}
setInterval(refresh, 1000);
