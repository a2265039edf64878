#!/bin/sh
# Renders the Mandelbrot set in integer fixed point and writes it as OUT/picture.png (OUT is /out
# unless given), with nothing but busybox: awk makes the PNG in hexadecimal, xxd packs it.
set -eu -o pipefail

out=${1:-/out}
mkdir -p "$out"

awk '
# One byte of a chunk: printed, and added to the chunk checksum (PNG 3rd edition, section 5.5).
function put(byte) {
    printf "%s", hex[byte]
    crc = xor(table[and(xor(crc, byte), 255)], rshift(crc, 8))
}
function put32(value) {
    put(and(rshift(value, 24), 255)); put(and(rshift(value, 16), 255))
    put(and(rshift(value, 8), 255)); put(and(value, 255))
}
function begin(length_, a, b, c, d) {
    put32(length_)
    crc = 4294967295
    put(a); put(b); put(c); put(d)
}
function finish() {
    put32(xor(crc, 4294967295))
    print ""
}
# One byte of image data, added to the zlib checksum as well (RFC 1950, section 8.2).
function pixel(byte) {
    put(byte)
    low = (low + byte) % 65521
    high = (high + low) % 65521
}
# How long the point (x, y) stays within radius 2: 0 to limit steps, in units of 1/one.
function steps(x, y,    a, b, aa, bb, n) {
    for (n = a = b = 0; n < limit; n++) {
        aa = a * a; bb = b * b
        if (aa + bb > 4 * one * one) break
        b = int(2 * a * b / one) + y
        a = int((aa - bb) / one) + x
    }
    return n
}
BEGIN {
    width = 200; height = 150; limit = 64; one = 8192
    for (n = 0; n < 256; n++) {
        hex[n] = sprintf("%02x", n)
        for (c = n, k = 0; k < 8; k++) c = and(c, 1) ? xor(3988292384, rshift(c, 1)) : rshift(c, 1)
        table[n] = c
    }
    print "89504e470d0a1a0a"
    begin(13, 73, 72, 68, 82)                       # IHDR: eight bits, palette
    put32(width); put32(height); put(8); put(3); put(0); put(0); put(0)
    finish()
    begin(3 * (limit + 1), 80, 76, 84, 69)          # PLTE: warm edges, black inside
    for (n = 0; n <= limit; n++) {
        t = (n == limit) ? 0 : int(n * 255 / limit)
        put(t < 64 ? t * 4 : (n == limit ? 0 : 255)); put(t); put(n == limit ? 0 : 64 + int(t / 2))
    }
    finish()
    size = (width + 1) * height                     # IDAT: one stored block (RFC 1951, 3.2.4)
    begin(size + 11, 73, 68, 65, 84)
    put(120); put(1); put(1)
    put(and(size, 255)); put(rshift(size, 8))
    put(255 - and(size, 255)); put(255 - rshift(size, 8))
    low = 1; high = 0
    for (row = 0; row < height; row++) {
        pixel(0)
        y = int((2 * row - height) * one * 12 / (10 * height))
        for (column = 0; column < width; column++)
            pixel(steps(int((2 * column - width) * one * 16 / (10 * width)) - int(one * 6 / 10), y))
        print ""
    }
    put32(high * 65536 + low)
    finish()
    begin(0, 73, 69, 78, 68)
    finish()
}' | xxd -r -p >"$out/picture.png"

echo "rendered a Mandelbrot set of 200 x 150 points, up to 64 steps each"
