for (const box of document.querySelectorAll(".chart.plotly")) {
  const figure = JSON.parse(box.querySelector("script").textContent);
  const plot = box.querySelector(".plot");
  if (!figure.layout?.height) plot.style.height = "450px";
  const config = { ...figure.config, responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "" };
  Plotly.newPlot(plot, figure.data ?? [], figure.layout ?? {}, config)
    .then(() => figure.frames && Plotly.addFrames(plot, figure.frames))
    .catch(error => { plot.textContent = `This figure could not be drawn: ${error.message}`; });
}
