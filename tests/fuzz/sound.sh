#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Make the sound inputs of the corpus anew: sound.sh BUILD, where BUILD has trm.o and ulp. They are small, and in the
# repository, so that every machine makes the same inputs from them.
set -euo pipefail

build=$(cd "$1" && pwd)
corpus=$(cd "$(dirname "$0")" && pwd)/corpus
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

cat >library.c <<'SOURCE'
extern long write(int, const void *, unsigned long);
static int __attribute__((noinline)) hidden(int value) { return value * value + 7; }
int increment(int value) { return hidden(value) + 1; }
int answer(int value) { return increment(value) * 10; }
long tell(const char *text) { return write(1, text, 1); }
void *table[] = {hidden, increment};
__attribute__((cold)) int seldom(int value) { return value < 0 ? answer(-value) : (int)tell("x"); }
SOURCE
cat >patch.c <<'SOURCE'
int new_answer(int value) { return value + 5000; }
SOURCE
cat >program.c <<'SOURCE'
int answer(int value) { return value; }
int main(void) { return answer(0); }
SOURCE
# shellcheck disable=SC2054
flags=(-O1 -fPIC -shared -Wl,--build-id=sha1 -Wl,-z,noseparate-code -Wl,--hash-style=gnu -nostartfiles)
padding=-fpatchable-function-entry=16,14
align=-falign-functions=16

gcc "${flags[@]}" "$padding" "$align" -Wl,-soname,libanswer.so.1 library.c -o padded
gcc "${flags[@]}" "$padding" "$align" -Wl,-soname,libanswer.so.1,-z,pack-relative-relocs,-z,now library.c -o relr
gcc "${flags[@]}" "$padding" "$align" -Wl,-soname,libanswer.so.1 library.c "$build/trm.o" -o tracked
gcc "${flags[@]}" library.c -o plain
gcc -O1 "$padding" "$align" -rdynamic -Wl,--build-id=sha1,-z,noseparate-code program.c -o program
gcc "${flags[@]}" patch.c -o patch
strip padded relr tracked plain program patch
cp tracked posted
"$build/ulp" post posted >/dev/null
printf '%s\n@%s\nanswer:new_answer\n' "$directory/patch" "$directory/padded" >fix.dsc
"$build/ulp" pack fix.dsc -o livepatch >/dev/null
# Without padding: with sites and a guard. The command's interpreter needs python3-capstone.
printf '%s\n@%s\nanswer:new_answer\nguard tell\n' "$directory/patch" "$directory/plain" >stock.dsc
"$build/ulp" pack stock.dsc -o sites >/dev/null

mkdir -p "$corpus"/{elf,post,livepatch,pack,description,signature,hold,ledger}
for file in padded relr posted plain program patch livepatch; do install -m 644 "$file" "$corpus/elf/sound-$file"; done
for file in padded relr tracked posted; do install -m 644 "$file" "$corpus/post/sound-$file"; done
install -m 644 livepatch "$corpus/livepatch/sound-livepatch"
install -m 644 sites "$corpus/livepatch/sound-sites"
install -m 644 patch "$corpus/pack/sound-patch"
printf '! a remark\n/lib/fix.so\n@/lib/libanswer.so.1\nanswer:new_answer\n a : b \n@/lib/b.so\nc:d\nguard e\n' \
	>"$corpus/description/sound-two-targets"
printf '# a remark\nname=nginx\nuser=www-data\nunit=nginx*.service\ncontainer=0123456789ab\n' >"$corpus/hold/sound-rules"
printf '%064d because it does harm\n# a remark\n' 7 >"$corpus/hold/sound-retracted"
printf '{"pid": 1, "outcome": "patched"}\n{"pid": 2, "na' >"$corpus/ledger/sound-half-a-line"

printf 'the bytes that were signed\n' >fix.ulp
for kind in ed25519 ecdsa; do
	ssh-keygen -q -t "$kind" -N '' -C '' -f "$kind"
	ssh-keygen -q -Y sign -n libpulp-livepatch -f "$kind" fix.ulp
	{
		printf 'root@example.com,ops@example.com namespaces="libpulp-livepatch" %s' "$(<"$kind.pub")"
		printf '\n=====\n'
		cat fix.ulp.sig
	} >"$corpus/signature/sound-$kind"
	rm fix.ulp.sig
done
