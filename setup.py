"""What pyproject.toml cannot say: `config/` stands at the top of the checkout and travels in the wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithConfig(build_py):
    """Copies `config/` to `server/config/`; an editable install reads it where it stands."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("config", Path(self.build_lib) / "server" / "config", dirs_exist_ok=True)


setup(cmdclass={"build_py": WithConfig})
