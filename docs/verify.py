"""Checks a roll of rollcast: verify.py PROOF-FILE KEY [EARLIER-ID EARLIER-SEED]. Exit code 0: every check passed.
KEY is from a source that you trust. The earlier seed was public before the roll. Without it, only the log is proven."""
import base64, calendar, hashlib, hmac, re, sys
# Each value has one text. HASH and SIGNATURE are the base64 of 32 and 68 bytes, whose last character has unused bits.
NUMBER, B, E = "(0|[1-9][0-9]*)", "[A-Za-z0-9+/]", "[AEIMQUYcgkosw048]="; HASH, SIGNATURE = B + "{42}" + E, B + "{90}" + E
FILE = (rf"c2sp\.org/tlog-proof@v1\nextra ({B}+=*)\nindex {NUMBER}\n((?:{HASH}\n){{0,63}})\n"
        rf"(([^\r\n]+)\n{NUMBER}\n({HASH})\n)\n((?:— [^ \r\n]* [^ \r\n]*\n)+)")
TIME = r"([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
DIE, SEED = '"([1-9][0-9]?|100)D([2-9]|[1-9][0-9]{1,2}|1000)":([1-9][0-9]*)', "[0-9a-f]{64}"
ROLL = rf"rollcast/v1 {NUMBER} (?:- - -|{TIME} {{{DIE}(?:,{DIE})*}} (?:-|(?P<seed>{SEED})(?: {SEED})?))"
def sha256(b): return hashlib.sha256(b).digest()
def check(what, holds): print("ok      " if holds else "WRONG   ", what, sep=""); holds or sys.exit(1)
# Ed25519 (RFC 8032), only to verify: points (x, y) of a curve over the integers modulo P.
P, Q = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, I = -121665 * pow(121666, -1, P) % P, pow(2, (P - 1) // 4, P)
def add(a, b):
    t = D * a[0] * b[0] * a[1] * b[1]
    return (a[0] * b[1] + b[0] * a[1]) * pow(1 + t, -1, P) % P, (a[1] * b[1] + a[0] * b[0]) * pow(1 - t, -1, P) % P
def times(n, a): return (0, 1) if n == 0 else add(times(n - 1, a), a) if n & 1 else times(n // 2, add(a, a))
def point(b):
    y, sign = int.from_bytes(b, "little") % 2**255, b[31] >> 7; xx = (y * y - 1) * pow(D * y * y + 1, -1, P)
    x = next((x for x in (pow(xx, (P + 3) // 8, P) * i % P for i in (1, I)) if (x * x - xx) % P == 0), None)
    return None if x is None or y >= P else (P - x if x & 1 != sign else x, y)
def signed(key, text, sig):
    k, s = (int.from_bytes(b, "little") for b in (hashlib.sha512(sig[:32] + key + text).digest(), sig[32:]))
    a, r = point(key), point(sig[:32])  # Anybody can sign with a key of small order.
    return a and r and s < Q and times(8, a) != (0, 1) and times(s, point(b"X" + 31 * b"f")) == add(r, times(k % Q, a))
def root_of(h, index, size, hashes):  # RFC 6962, section 2.1.1: the last hash is that of the other half of the tree.
    if size == 1: return None if hashes else h
    *rest, other = hashes; left = 1 << (size - 1).bit_length() - 1
    half = root_of(h, index % left, left if index < left else size - left, rest)
    return half and sha256(b"\1" + (half + other if index < left else other + half))
sys.excepthook = lambda kind, error, trace: print(f"WRONG   {str(error)!a}", file=sys.stderr)  # One line, no trace.
if len(sys.argv) not in (3, 5): print(__doc__, file=sys.stderr); sys.exit(2)
file = re.fullmatch(FILE, open(sys.argv[1], encoding="utf-8", newline="").read(2**16))
key = re.fullmatch(rf"([^\s+]+)\+([0-9a-f]{{8}})\+({B}{{44}})", sys.argv[2]); public = base64.b64decode(key[3] if key else "")
check("the proof and the key are well-formed", file and public[:1] == b"\1"
      and sha256(f"{key[1]}\n".encode() + public)[:4].hex() == key[2])
extra, index, hashes, text, origin, size, root, signatures = file.groups(); index, size = int(index), int(size)
leaf = base64.b64decode(extra).decode(); form, dice = re.fullmatch(ROLL, leaf), re.findall(DIE, leaf)
is_day = form and (not form[2] or 0 < int(form[4]) <= calendar.monthrange(int(form[2]), int(form[3]))[1])
check("the line is well-formed and has the right roll number", is_day and int(form[1]) == index + 1
      and len({d[:2] for d in dice}) == len(dice) <= 16 and base64.b64encode(leaf.encode()).decode() == extra)
sigs = map(base64.b64decode, re.findall(f"^— {re.escape(origin)} ({SIGNATURE})$", signatures, re.M))
is_signed = any(sig[:4].hex() == key[2] and signed(public[1:], text.encode(), sig[4:]) for sig in sigs)
check(f"the log of {size} rolls is signed by this key", is_signed and origin == key[1])
path = [base64.b64decode(line) for line in hashes.split()]; leaf_hash = sha256(b"\0" + leaf.encode())
check(f"this line is in the log: {leaf}", index < size and root_of(leaf_hash, index, size, path) == base64.b64decode(root))
roll, seed = int(form[1]), bytes.fromhex(form["seed"] or ""); seed or sys.exit("not proven: this roll has no seed")
for n, s, result in (map(int, die) for die in dice):
    faces, i = [], 0
    while len(faces) < n:
        b = hmac.digest(seed, f"rollcast/v1 {roll} {n}D{s} {i}".encode(), "sha256"); i += 1
        faces += [x % s + 1 for x in (b[j] << 8 | b[j + 1] for j in range(0, 32, 2)) if x < 65536 - 65536 % s]
    check(f"{n}D{s} = {result} follows from the seed", sum(faces[:n]) == result)
if len(sys.argv) > 3:
    known = re.fullmatch(NUMBER, sys.argv[3]); steps = roll - int(known[0]) if known else 0
    for _ in range(min(steps, 2**20)): seed = sha256(seed)
    check(f"the seed leads back to that of roll {sys.argv[3]}", 0 < steps <= 2**20 and seed.hex() == sys.argv[4])
else: print("not checked: whether the seed leads back to one that was public before")
