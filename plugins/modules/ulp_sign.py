#!/usr/bin/python
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ulp_sign
short_description: Sign a livepatch, or verify its signature
version_added: 1.1.0
description:
  - Signs a livepatch with C(ssh-keygen -Y sign). The signature is written to a file beside it, whose name ends with
    C(.sig). If the livepatch is signed with that key already, nothing is changed.
  - With O(state=verified), it verifies the signature against a list of those who may sign, and fails if the signature
    is not valid.
  - The module usually runs on the controller, where the key is, with C(delegate_to) or on C(localhost).
author:
  - libpulp.livepatch contributors (@libpulp)
extends_documentation_fragment:
  - libpulp.livepatch.attributes
  - libpulp.livepatch.attributes.changes
  - libpulp.livepatch.core
requirements:
  - openssh-client
options:
  path:
    description: The livepatch.
    type: path
    required: true
  state:
    description:
      - V(signed) signs the livepatch with O(key).
      - V(verified) changes nothing. The module fails unless somebody whom O(allowed_signers) lists has signed the
        livepatch as it is now.
    type: str
    choices: [signed, verified]
    default: signed
  key:
    description:
      - The private key to sign with, or a public key whose private half an agent holds.
      - A key with a passphrase works only through an agent, as nobody is there to be asked.
      - Required for O(state=signed).
    type: path
  allowed_signers:
    description:
      - The file that lists who may sign, as C(ssh-keygen -Y verify) reads it.
      - Required for O(state=verified).
    type: path
  identity:
    description:
      - Who must have signed, as O(allowed_signers) names them. Without it, anybody whom the file lists may have.
      - For O(state=verified) only.
    type: str
seealso:
  - module: libpulp.livepatch.ulp_pack
  - module: libpulp.livepatch.ulp_dispatch
"""

EXAMPLES = r"""
- name: Sign a livepatch
  libpulp.livepatch.ulp_sign:
    path: /usr/local/lib/livepatch/answer.ulp
    key: /root/.ssh/livepatch_ed25519

- name: Make sure that the right team has signed it
  libpulp.livepatch.ulp_sign:
    path: /usr/local/lib/livepatch/answer.ulp
    state: verified
    allowed_signers: /etc/libpulp/allowed_signers
    identity: security@example.com
"""

RETURN = r"""
path:
  description: The signature's file.
  returned: success
  type: str
  sample: /usr/local/lib/livepatch/answer.ulp.sig
fingerprint:
  description: The fingerprint of the key that the livepatch is signed with, or in check mode would be.
  returned: success
  type: str
  sample: SHA256:JTJzIzPVlEvbnKMzbTOuZaeSbtRVdWyBDzRYaLHDfIA
identity:
  description: Who has signed, as O(allowed_signers) names them.
  returned: when O(state=verified)
  type: str
  sample: security@example.com
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import run_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.atomic_file import read_file
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import parse_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.signature import (
    sign,
    signature_path,
    verify,
)


def sign_or_verify(module):
    """Bring the signature of the livepatch that the module's parameters name to their state; the module's result."""
    params = module.params
    path = params["path"]
    data = read_file(path)
    if params["state"] == "verified":
        signer = verify(data, path, params["allowed_signers"], params["identity"])
        return dict(signer._asdict(), path=signature_path(path), changed=False)
    # Nobody should sign what no host will take.
    parse_livepatch(data, path)
    signed = sign(path, params["key"], data, check=module.check_mode)
    return {
        "path": signed.path,
        "changed": signed.changed,
        "fingerprint": signed.fingerprint,
        "diff": {
            "before_header": signed.path, "before": _signed_by(signed.before),
            "after_header": signed.path, "after": _signed_by(signed.fingerprint),
        },
    }


def _signed_by(fingerprint):
    return f"signed with the key {fingerprint}\n" if fingerprint else "not signed\n"


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["signed", "verified"], "default": "signed"},
            "key": {"type": "path", "no_log": False},
            "allowed_signers": {"type": "path"},
            "identity": {"type": "str"},
        },
        required_if=[("state", "signed", ("key",)), ("state", "verified", ("allowed_signers",))],
        supports_check_mode=True,
    )
    run_module(module, sign_or_verify)


if __name__ == "__main__":
    main()
