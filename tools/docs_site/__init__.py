"""The documentation site: `mkdocs.yml` has its pages, `hooks` adds the files outside of docs/."""
