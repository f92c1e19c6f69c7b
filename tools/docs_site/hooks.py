"""Hooks of MkDocs: add README.md, the examples and other files outside of docs/ to the site.

The links in Markdown files lead to files of the repository, so that they work without the site, too. This
module changes them to links between pages of the site. A link to a file that is not on the site becomes a
link to the repository, or plain text if pyproject.toml names no repository.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_DOCS = "docs/"
# path in the repository: path in the site
_ADDED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples/index.md",
    **{
        f"examples/{path.name}": f"examples/{path.stem}.md"
        for path in sorted((ROOT / "examples").glob("*.py"))
    },
}
_REPOSITORY_PATHS = {site: path for path, site in _ADDED.items()}
_FENCE = re.compile(r"^ *```", re.MULTILINE)
_DOCSTRING_PAGE = re.compile(r"\bdocs/([\w-]+)\.md\b")
_LINK = re.compile(r"(?P<text>\[(?:[^\[\]]|\[[^\[\]]*\])*\])\((?P<target>[^()\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the addresses of the repository and of the site from pyproject.toml."""
    urls = _project_urls()
    # not as `repo_url`, because the theme would ask the server of the repository for its number of stars
    config.extra["repository"] = urls.get("Repository")
    if config.extra["repository"]:
        icon = "fontawesome/brands/git-alt"
        config.extra["social"] = [{"icon": icon, "link": config.extra["repository"], "name": "Repository"}]
    config.site_url = urls.get("Documentation")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside of docs/ to the site."""
    for path, site_path in _ADDED.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        if path.endswith(".py"):
            text = _show_program(path, text)
        files.append(File.generated(config, site_path, content=text))
    style = Path(__file__).with_name("site.css").read_text(encoding="utf-8")
    files.append(File.generated(config, "site.css", content=style))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change the links of the repository to links of the site."""
    source = _REPOSITORY_PATHS.get(page.file.src_uri, _DOCS + page.file.src_uri)
    parts = _FENCE.split(markdown)
    for i in range(0, len(parts), 2):  # the odd ones are code
        parts[i] = _LINK.sub(
            lambda link: _change_link(link, source, page.file.src_uri, config.extra["repository"]), parts[i]
        )
    return "```".join(parts)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links of the names of pages in docstrings, such as docs/errors.md."""
    if not page.file.src_uri.startswith("reference/"):
        return html
    return _DOCSTRING_PAGE.sub(lambda found: _link_page(found[1], page, files), html)


def _link_page(name: str, page: Page, files: Files) -> str:
    target = files.get_file_from_path(f"{name}.md")
    if not target or not target.page:
        raise PluginError(f"{page.file.src_uri}: a docstring names docs/{name}.md, which does not exist")
    return f'<a href="{target.url_relative_to(page.file)}">{target.page.title}</a>'


def _change_link(link: re.Match[str], source: str, page: str, repository: str | None) -> str:
    path, mark, anchor = link["target"].partition("#")
    if not path or ":" in path:
        return link[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if target in _ADDED:
        site_path = _ADDED[target]
    elif target.startswith(_DOCS):
        site_path = target[len(_DOCS) :]
    elif not (ROOT / target).exists():
        return link[0]  # MkDocs reports it
    else:
        return (
            f"{link['text']}({repository}/blob/main/{target}{mark}{anchor})"
            if repository
            else link["text"][1:-1]
        )
    new = posixpath.relpath(site_path, posixpath.dirname(page) or ".")
    return f"{link['text']}({new}{mark}{anchor})"


def _project_urls() -> dict[str, str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    urls: dict[str, str] = project["project"].get("urls", {})
    return urls


def _show_program(path: str, source: str) -> str:
    """Return a page with a program: its docstring and its source."""
    docstring = ast.get_docstring(ast.parse(source)) or ""
    name = posixpath.basename(path)
    code = f'```python title="{name}"\n{source}```'
    return f"# {name}\n\n{docstring}\n\n{code}\n\nTo run it: [Examples](README.md)\n"
