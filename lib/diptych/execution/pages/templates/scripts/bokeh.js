for (const box of document.querySelectorAll(".chart.bokeh")) {
  const { docs, items } = JSON.parse(box.querySelector("script").textContent);
  const plot = box.querySelector(".plot");
  for (const item of items) {
    for (const root of item.root_ids ?? Object.keys(item.roots ?? {})) {
      const place = document.createElement("div");
      place.id = `${box.id}-${root}`;
      plot.append(place);
      item.roots = { ...item.roots, [root]: place.id };
    }
    delete item.elementid;
  }
  Promise.resolve(Bokeh.embed.embed_items(docs, items))
    .catch(error => { plot.textContent = `This figure could not be drawn: ${error.message}`; });
}
