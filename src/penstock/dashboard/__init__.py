"""Pages for people over `penstock.control`: Jinja2 on this side, htmx and uPlot in the browser.

Nothing is fetched from elsewhere, no script or style is inside a page. `site` joins the pages; each
module named like a page has the handlers of that page.
"""
