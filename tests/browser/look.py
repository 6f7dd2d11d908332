"""Looks at pages as tests do: with axe-core, in narrow and wide windows, in both colour schemes."""

import pathlib

WIDTHS = [320, 390, 768, 1280]


class Look:
    """Checks pages, and writes their HTML to a folder."""

    def __init__(self, axe, folder):
        self.axe = pathlib.Path(axe).read_text()
        self.folder = folder
        self.count = 0

    def at(self, page, name):
        self.count += 1
        pathlib.Path(self.folder, f"{self.count}-{name}.html").write_text(page.content())
        page.evaluate(self.axe)
        # The dark scheme differs only in its colours.
        for scheme, rules in [("dark", '{runOnly: ["color-contrast"]}'), ("light", "{}")]:
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate(f"() => axe.run({rules})")
            violations = [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]]
            assert not violations, f"{name}, {scheme}: {violations}"
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("() => document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide in a window of {width}"


def press(page, role, name):
    """Moves the focus to a button or a link with the Tab key, and presses Enter."""
    wanted = page.get_by_role(role, name=name).first
    page.locator("body").press("Tab")
    for _ in range(60):
        if wanted.evaluate("element => element === document.activeElement"):
            return page.keyboard.press("Enter")
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key does not reach the {role} {name}")
