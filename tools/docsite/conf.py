# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx draws the site: what antsibull-docs writes about plugins and roles, and the pages of docs/."""

from __future__ import annotations

from docutils import nodes

project = title = html_short_title = "libpulp.livepatch"
project_copyright = "libpulp.livepatch contributors"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 4

html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_index = False
html_copy_source = False
pygments_style = "ansible"
highlight_language = "none"
default_role = "any"
nitpicky = True

ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
# What the generated pages refer to in Ansible's own documentation. Sphinx would fetch its inventory, and the build then
# fail without a network.
PAGES = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "callback_plugins": "plugins/callback.html",
    "common_return_values": "reference_appendices/common_return_values.html",
    "list_of_collections": "collections/index.html",
    "ansible_collections.ansible.builtin.default_callback": "collections/ansible/builtin/default_callback.html",
}


def refer_to_ansible(app, environment, reference, text):
    """A link to Ansible's documentation for a label or environment variable of it; None for anything else."""
    target = reference["reftarget"]
    if reference["reftype"] == "envvar" and target.startswith("ANSIBLE_"):
        page = f"reference_appendices/config.html#envvar-{target}"
    elif reference["reftype"] == "ref" and target in PAGES:
        page = PAGES[target]
    else:
        return None
    return nodes.reference("", "", text, internal=False, refuri=ANSIBLE + page)


def setup(app):
    app.connect("missing-reference", refer_to_ansible)
