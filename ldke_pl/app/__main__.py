"""The live page: ``python -m ldke_pl.app [model.name=NAME] [edits=DIR] [port=N]``.

Serves a page on this machine alone, where a model is asked and edited by hand; ``--help`` lists every key. Ends with
Ctrl-C; edits are gone then unless they were downloaded.
"""

import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from ldke_pl.app.examples import examples_for
from ldke_pl.app.opening import open_session
from ldke_pl.app.session import Session
from ldke_pl.cli import exit_status
from ldke_pl.config import CONF_DIR, AppConfig, load_config
from ldke_pl.errors import ConfigError

HOST = "127.0.0.1"
LARGEST = "50mb"
"""Largest picture that is taken."""


def main(argv: Sequence[str]) -> int:
    """Open a session and serve its page until interrupted.

    Raises:
        ConfigError: a key is wrong, Gradio is not installed, or the port is taken.
        LDKEError: the model or the edits to begin with cannot be loaded.
    """
    config: AppConfig = load_config(AppConfig, CONF_DIR / "app.yaml", argv, "-m ldke_pl.app")
    if find_spec("gradio") is None:
        raise ConfigError("The live page needs Gradio.", "pip install 'ldke-pl[app]'")
    logging.getLogger("transformers").setLevel(logging.ERROR)  # its remarks on optional packages
    session = open_session(config)
    try:
        page = serve(session, config.port)
        print(f"{session.edited.backbone.name}: http://{HOST}:{config.port} (Ctrl-C ends)", flush=True)
        page.block_thread()
    finally:
        session.close()
    return 0


def serve(session: Session, port: int) -> Any:
    """Serve the page and return it; ``close()`` ends that.

    Raises:
        ConfigError: the port is taken.
    """
    # Read when Gradio is imported: it tells nobody about us, and what it keeps of pictures goes with the session.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(session.folder / "gradio")}
    from ldke_pl.app.page import STYLE, build, theme

    page = build(session, examples_for(session.edited.backbone.name, session.folder))
    try:
        page.launch(
            server_name=HOST, server_port=port, share=False, inbrowser=False, prevent_thread_lock=True, quiet=True,
            ssr_mode=False, run_history=False, footer_links=[], max_file_size=LARGEST, theme=theme(), css_paths=STYLE,
        )  # fmt: skip
    except OSError as fault:
        hint = "choose another one, as in port=7861"
        raise ConfigError(f"Port {port} of {HOST} is taken, or may not be used.", hint) from fault
    return page


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
