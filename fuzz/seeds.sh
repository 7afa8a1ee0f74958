#!/usr/bin/env bash
# The seed inputs are kept as text, one input a line in hexadecimal: seeds/TARGET.hex.
#   ./seeds.sh unpack    makes corpus/TARGET/ from them, for the fuzzer to start from
#   ./seeds.sh pack      keeps what `cargo fuzz cmin TARGET` left in corpus/TARGET/, up to 128 bytes an input
set -euo pipefail
cd "$(dirname "$0")"
for target in frames segment directory; do
  case "${1:-}" in
    unpack)
      mkdir -p "corpus/$target"
      number=0
      while read -r line; do
        number=$((number + 1))
        xxd -r -p <<<"$line" >"corpus/$target/seed-$number"
      done <"seeds/$target.hex"
      ;;
    pack)
      find "corpus/$target" -type f -size -129c -exec xxd -p -c 0 {} \; | sort -u >"seeds/$target.hex"
      ;;
    *)
      sed -n 2,4p "$0"
      exit 2
      ;;
  esac
done
