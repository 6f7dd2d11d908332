"""Makes the pictures of the guide from the screenshots of pages.py: one picture for each page, light and dark, on a
desktop and on a phone.

usage: gallery.py FOLDER_OF_SCREENSHOTS FOLDER_OF_PICTURES
"""

import os
import pathlib
import sys

from playwright.sync_api import sync_playwright

shots, pictures = map(pathlib.Path, sys.argv[1:])
chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
names = sorted({path.name.removesuffix("-light-desktop.png") for path in shots.glob("*-light-desktop.png")})
pictures.mkdir(exist_ok=True)
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page(viewport={"width": 1800, "height": 600})
    for name in names:
        shown = "".join(
            f"<div style='width:{width}px;max-height:740px;overflow:hidden'>"
            f"<img src='{(shots / f'{name}-{kind}.png').resolve().as_uri()}' style='width:100%;display:block'></div>"
            for kind, width in [("light-desktop", 650), ("dark-desktop", 650), ("light-phone", 220), ("dark-phone", 220)]
        )
        sheet = shots / "sheet.html"
        sheet.write_text(f"<body style='margin:0;padding:12px;display:flex;gap:12px;align-items:flex-start;background:#a1a1aa'>{shown}")
        page.goto(sheet.resolve().as_uri())
        height = page.evaluate("() => document.body.scrollHeight")
        page.set_viewport_size({"width": 1800, "height": min(height, 764)})
        page.screenshot(path=pictures / f"{name}.jpg", type="jpeg", quality=72)
    browser.close()
