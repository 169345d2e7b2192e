# Sourced by run, test and check: a virtual environment in .venv with the package in it.
# Where packages come from is pip's own configuration; nothing here names an index.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$top/.venv"

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

find_python() {
  local name
  for name in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
    [ -n "$name" ] || continue
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s' "$name"
      return
    fi
  done
  die "Lightbox needs Python 3.11 or newer, and there is none here."
}

# prepare [EXTRA…]: make the environment, or bring it up to date. What was installed is noted beside it, with what
# pyproject.toml then said; while nothing changed, nothing is asked of pip.
prepare() {
  local python stamp extra wanted=() known
  if ! "$venv/bin/python" -c '' 2>/dev/null; then
    python=$(find_python) || exit 1
    say "Making a virtual environment …"
    rm -rf "$venv"
    "$python" -m venv "$venv" || die "Python's venv module is missing (on Debian: apt-get install python3-venv)."
  fi
  stamp=$("$venv/bin/python" -c 'import hashlib, sys
print(hashlib.sha256(b"".join(open(name, "rb").read() for name in sys.argv[1:])).hexdigest())' \
    "$top/pyproject.toml" "$top/setup.py" "$top/constraints.txt") || exit 1
  for extra in package "$@"; do
    known="$venv/.installed-$extra"
    [ "$(cat "$known" 2>/dev/null)" = "$stamp" ] || wanted+=("$extra")
  done
  [ ${#wanted[@]} -gt 0 ] || return 0
  say "Installing packages (${wanted[*]}) …"
  local extras=""
  if [ $# -gt 0 ]; then extras="[$(IFS=,; printf '%s' "$*")]"; fi
  local install=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$top$extras")
  "${install[@]}" --constraint "$top/constraints.txt" \
    || { say "Not with the versions of constraints.txt; trying the newest that fit …"; "${install[@]}"; } \
    || die "The packages could not be installed."
  for extra in "${wanted[@]}"; do printf '%s' "$stamp" > "$venv/.installed-$extra"; done
}

# fetch_assets [OPTION…]: front-end assets; without npm or network it says so and everything goes on without them.
fetch_assets() {
  "$venv/bin/python" -m server.portal.assets "$@" || [ $? -eq 3 ] || exit 1
}
