for (const box of document.querySelectorAll(".chart.vega")) {
  const spec = JSON.parse(box.querySelector("script").textContent);
  const plot = box.querySelector(".plot");
  // `ast` reads the expressions of a chart without running them as JavaScript
  vegaEmbed(plot, spec, { ast: true, actions: false, renderer: "svg" })
    .catch(error => { plot.textContent = `This chart could not be drawn: ${error.message}`; });
}
