// Windows of mass.native that wrap: copies, max pooling, depthwise convolution. Every output is computed by the same
// instructions in the same order wherever it lies: rounding cannot depend on the position.

#include <limits>

#include "common.h"

namespace {

typedef float Vec __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t LANES = 16;

inline int64_t wrapped(int64_t i, int64_t n) {
    i %= n;
    return i < 0 ? i + n : i;
}

// `count` units, those read `step` units apart.
template <class Unit>
inline void copy_units(char* to, const char* from, int64_t count, int64_t step) {
    for (int64_t m = 0; m < count; m++) std::memcpy(to + m * sizeof(Unit), from + m * step * sizeof(Unit), sizeof(Unit));
}

inline void copy(char* to, const char* from, int64_t count, int64_t step, int64_t unit) {
    if (step == 1 && count * unit != 4)
        std::memcpy(to, from, count * unit);
    else if (unit == 4)
        copy_units<int32_t>(to, from, count, step);
    else if (unit == 2)
        copy_units<int16_t>(to, from, count, step);
    else
        for (int64_t m = 0; m < count; m++) std::memcpy(to + m * unit, from + m * step * unit, unit);
}

// Where along one axis the taps of a window lie, modulo its size: `first` plus steps in [0, span].
struct Taps {
    int64_t first, span;
    std::vector<int64_t> steps;
};

inline Taps taps_of(int64_t kernel, int64_t dilation, int64_t before, int64_t size) {
    std::vector<int64_t> places(kernel);
    for (int64_t k = 0; k < kernel; k++) places[k] = wrapped(k * dilation - before, size);
    Taps best{0, size, {}};
    for (int64_t first : places) {  // the shortest stretch of the circle that holds all taps
        int64_t span = 0;
        for (int64_t place : places) span = std::max(span, wrapped(place - first, size));
        if (span < best.span) best = {first, span, {}};
    }
    for (int64_t place : places) best.steps.push_back(wrapped(place - best.first, size));
    return best;
}

struct Window {
    int64_t batch, channels, height, width, channels_last;
    int64_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left;
    int64_t out_h() const { return height / stride_h; }
    int64_t out_w() const { return width / stride_w; }
};

struct Multiply {  // depthwise convolution
    static inline Vec step(Vec sum, Vec x, Vec w) { return sum + x * w; }
};

struct Largest {  // max pooling; a NaN wins, as in PyTorch
    static inline Vec step(Vec best, Vec x, Vec) { return (x > best) | (x != x) ? x : best; }
};

inline Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
inline Vec every(float v) { return Vec{} + v; }

// Columns m stride + c go to to[c * part + m], m < count: past the row's end up to a vector is read and written.
inline void sort_columns(const float* from, float* to, int64_t count, int64_t stride, int64_t part) {
    if (stride == 2) {
        for (int64_t m = 0; m < count; m += LANES) {
            const Vec a = load(from + 2 * m), b = load(from + 2 * m + LANES);
            store(to + m, __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
            store(to + part + m, __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
        }
        return;
    }
    for (int64_t c = 0; c < stride; c++)
        for (int64_t m = 0; m < count; m++) to[c * part + m] = from[m * stride + c];
}

// Channels first: a plane is laid out with its border wrapped and its strides taken apart, so that a tap is one
// offset for all outputs; outputs are computed in one sweep, those between the rows' ends thrown away.
template <class Op>
void plane_windows(const float* x, float* out, const Window& w, const int64_t* origin, const float* weight, const float* bias,
                   float initial) {
    const int64_t out_h = w.out_h(), out_w = w.out_w(), taps = w.kernel_h * w.kernel_w;
    const Taps rows = taps_of(w.kernel_h, w.dilation_h, w.top, w.height), columns = taps_of(w.kernel_w, w.dilation_w, w.left, w.width);
    const int64_t pitch = out_w + columns.span / w.stride_w, lines = out_h + rows.span / w.stride_h;
    const int64_t part = lines * pitch + LANES, sweep = (out_h - 1) * pitch + out_w;
    const int64_t swept = (sweep + 4 * LANES - 1) / (4 * LANES) * (4 * LANES);
    std::vector<int64_t> offsets(taps);
    for (int64_t i = 0; i < w.kernel_h; i++)
        for (int64_t j = 0; j < w.kernel_w; j++) {
            const int64_t r = rows.steps[i], c = columns.steps[j];
            offsets[i * w.kernel_w + j] =
                ((r % w.stride_h) * w.stride_w + c % w.stride_w) * part + (r / w.stride_h) * pitch + c / w.stride_w;
        }
    const int64_t planes = w.batch * w.channels, area = w.height * w.width;
    const int64_t buffered = w.stride_h * w.stride_w * part + 4 * LANES;  // the last sweep and the last row run over
#pragma omp parallel num_threads(threads_for(planes * area * 4))
    {
        std::vector<float> buffer(buffered, 0.0f), result(swept), unsorted(pitch * w.stride_w + 2 * LANES);
#pragma omp for schedule(static)
        for (int64_t plane = 0; plane < planes; plane++) {
            const int64_t channel = plane % w.channels;
            const int64_t* o = origin ? origin + 2 * (plane / w.channels) : nullptr;
            const int64_t first_row = wrapped(rows.first + (o ? o[0] : 0), w.height);
            const int64_t first_column = wrapped(columns.first + (o ? o[1] : 0), w.width);
            for (int64_t r = 0; r < w.stride_h; r++)
                for (int64_t line = 0; line < lines; line++) {
                    const float* row = x + plane * area + (first_row + line * w.stride_h + r) % w.height * w.width;
                    float* to = buffer.data() + r * w.stride_w * part + line * pitch;
                    const int64_t length = pitch * w.stride_w;
                    float* wrapping = w.stride_w == 1 ? to : unsorted.data();
                    for (int64_t done = 0, from = first_column; done < length; from = 0) {
                        const int64_t count = std::min(w.width - from, length - done);
                        std::memcpy(wrapping + done, row + from, count * 4);
                        done += count;
                    }
                    if (w.stride_w > 1) sort_columns(wrapping, to, pitch, w.stride_w, part);
                }
            const float* factors = weight ? weight + channel * taps : nullptr;
            const Vec begin = every(initial), last = every(bias ? bias[channel] : 0.0f);
            for (int64_t f = 0; f < sweep; f += 4 * LANES) {
                Vec a = begin, b = begin, c = begin, d = begin;
                for (int64_t t = 0; t < taps; t++) {
                    const float* p = buffer.data() + offsets[t] + f;
                    const Vec k = every(factors ? factors[t] : 0.0f);
                    a = Op::step(a, load(p), k);
                    b = Op::step(b, load(p + LANES), k);
                    c = Op::step(c, load(p + 2 * LANES), k);
                    d = Op::step(d, load(p + 3 * LANES), k);
                }
                if (bias) a += last, b += last, c += last, d += last;
                float* r = result.data() + f;
                store(r, a), store(r + LANES, b), store(r + 2 * LANES, c), store(r + 3 * LANES, d);
            }
            for (int64_t i = 0; i < out_h; i++)
                std::memcpy(out + (plane * out_h + i) * out_w, result.data() + i * pitch, out_w * 4);
        }
    }
}

// N outputs of a row that lie next to each other, and whose taps do, `apart` elements from one to the next: all whole vectors of
// channels; the first channel that is left is returned. T: how many taps, 0 for any number. Every sum takes its taps in their order.
template <class Op, int N, int T>
inline int64_t pixels(const float* const* from, int64_t C, int64_t apart, int64_t taps, const float* weight, int64_t whole,
                      const float* last, float initial, float* to) {
    const float* place[T ? T : 1];
    for (int t = 0; t < T; t++) place[t] = from[t];
    int64_t c = 0;
    for (; c + LANES <= C; c += LANES) {
        Vec sums[N];
        for (int n = 0; n < N; n++) sums[n] = every(initial);
        const auto add = [&](int64_t t, const float* p) {
            const Vec k = weight ? load(weight + t * whole + c) : Vec{};
            for (int n = 0; n < N; n++) sums[n] = Op::step(sums[n], load(p + n * apart), k);
        };
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) add(t, place[t] + c);
        for (int64_t t = T; t < taps; t++) add(t, from[t] + c);
        for (int n = 0; n < N; n++) store(to + n * C + c, last ? sums[n] + load(last + c) : sums[n]);
    }
    return c;
}

// The same of so many outputs, chosen at run time.
template <class Op, int T> inline auto several(int count) {
    return count == 6 ? pixels<Op, 6, T> : count == 4 ? pixels<Op, 4, T> : count == 2 ? pixels<Op, 2, T> : pixels<Op, 1, T>;
}

// Channels last: no buffer; all channels of a pixel are one contiguous sweep, a tap is another pixel.
template <class Op>
void pixel_windows(const float* x, float* out, const Window& w, const int64_t* origin, const float* weight, const float* bias,
                   float initial) {
    const int64_t out_h = w.out_h(), out_w = w.out_w(), taps = w.kernel_h * w.kernel_w, C = w.channels;
    const int64_t whole = (C + LANES - 1) / LANES * LANES, apart = w.stride_w * C;
    std::vector<float> factors(weight ? taps * whole : 0, 0.0f), last(whole, 0.0f);
    if (weight)
        for (int64_t c = 0; c < C; c++)
            for (int64_t t = 0; t < taps; t++) factors[t * whole + c] = weight[c * taps + t];
    if (bias) std::copy(bias, bias + C, last.begin());
#pragma omp parallel num_threads(threads_for(w.batch * w.height * w.width * C * 4))
    {
        // Filled per image and per line: divisions for every few pixels would take longer than their sums.
        std::vector<int64_t> columns(out_w * w.kernel_w), rows(w.kernel_h);
        std::vector<int64_t> run(out_w);  // how many outputs from here on lie next to each other with all their taps
        std::vector<const float*> from(taps);
        int64_t image = -1;
#pragma omp for schedule(static)
        for (int64_t line = 0; line < w.batch * out_h; line++) {
            const int64_t b = line / out_h, n = line % out_h;
            const int64_t o = origin ? origin[2 * b] : 0, p = origin ? origin[2 * b + 1] : 0;
            for (int64_t i = 0; i < w.kernel_h; i++)
                rows[i] = (b * w.height + wrapped(n * w.stride_h + i * w.dilation_h - w.top + o, w.height)) * w.width * C;
            if (b != image) {
                image = b;
                for (int64_t j = 0; j < w.kernel_w; j++) {
                    int64_t column = wrapped(j * w.dilation_w - w.left + p, w.width);
                    for (int64_t m = 0; m < out_w; m++) {
                        columns[m * w.kernel_w + j] = column * C;
                        for (column += w.stride_w; column >= w.width;) column -= w.width;
                    }
                }
                for (int64_t m = out_w - 1; m >= 0; m--) {
                    const int64_t *here = &columns[m * w.kernel_w], *next = here + w.kernel_w;
                    bool adjoins = m + 1 < out_w;
                    for (int64_t j = 0; adjoins && j < w.kernel_w; j++) adjoins = next[j] == here[j] + apart;
                    run[m] = adjoins ? run[m + 1] + 1 : 1;
                }
            }
            for (int64_t m = 0; m < out_w;) {
                const int64_t* here = &columns[m * w.kernel_w];
                for (int64_t i = 0, t = 0; i < w.kernel_h; i++)
                    for (int64_t j = 0; j < w.kernel_w; j++, t++) from[t] = x + rows[i] + here[j];
                const int count = run[m] >= 6 ? 6 : run[m] >= 4 ? 4 : run[m] >= 2 ? 2 : 1;
                float* to = out + (line * out_w + m) * C;
                const float *own = weight ? factors.data() : nullptr, *more = bias ? last.data() : nullptr;
                const auto some = taps == 9 ? several<Op, 9>(count) : several<Op, 0>(count);
                const int64_t c = some(from.data(), C, apart, taps, own, whole, more, initial, to);
                for (int q = 0; c < C && q < count; q++) {  // the channels that fill no vector
                    Vec sum = every(initial);
                    float scratch[LANES] = {};
                    for (int64_t t = 0; t < taps; t++) {
                        std::memcpy(scratch, from[t] + q * apart + c, (C - c) * 4);
                        sum = Op::step(sum, load(scratch), weight ? load(&factors[t * whole + c]) : Vec{});
                    }
                    store(scratch, bias ? sum + load(&last[c]) : sum);
                    std::memcpy(to + q * C + c, scratch, (C - c) * 4);
                }
                m += count;
            }
        }
    }
}

template <class Op>
void windows(const float* x, float* out, const Window& w, const int64_t* origin, const float* weight, const float* bias, float initial) {
    (w.channels_last ? pixel_windows<Op> : plane_windows<Op>)(x, out, w, origin, weight, bias, initial);
}

}  // namespace

extern "C" {

// out[plane, n, m] = x[plane, (n step_h - top + o) mod height, (m step_w - left + p) mod width], (o, p) the image's origin.
// shape: planes, planes per image, height, width, bytes of a unit, rows and columns of out, top, left, steps (rows first).
void mass_wrap(const char* x, char* out, const int64_t* shape, const int64_t* origin) {
    const int64_t planes = shape[0], per_image = shape[1], height = shape[2], width = shape[3], unit = shape[4];
    const int64_t rows = shape[5], columns = shape[6], top = shape[7], left = shape[8], step_h = shape[9], step_w = shape[10];
    const int64_t threads = threads_for(planes * rows * columns * unit), lines = planes * rows;
    const int64_t top_row = wrapped(-top, height), left_column = wrapped(-left, width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t part = 0; part < threads; part++) {
        // Rows are short: divisions would take longer than copying them, so places are counted along.
        const int64_t begin = lines * part / threads, end = lines * (part + 1) / threads;
        int64_t plane = begin / rows, n = begin % rows, row = 0, column = 0;
        for (int64_t line = begin; line < end; line++) {
            if (line == begin || n == rows) {
                if (n == rows) n = 0, plane++;
                const int64_t* o = origin ? origin + 2 * (plane / per_image) : nullptr;
                row = wrapped(n * step_h + top_row + (o ? o[0] : 0), height);
                column = o ? wrapped(left_column + o[1], width) : left_column;
            }
            const char* source = x + (plane * height + row) * width * unit;
            char* to = out + line * columns * unit;
            for (int64_t done = 0, from = column; done < columns;) {
                const int64_t ahead = step_w == 1 ? width - from : (width - from + step_w - 1) / step_w;
                const int64_t count = std::min(ahead, columns - done);
                copy(to + done * unit, source + from * unit, count, step_w, unit);
                done += count;
                for (from += count * step_w; from >= width;) from -= width;
            }
            n++;
            for (row += step_h; row >= height;) row -= height;
        }
    }
}

// shape of both: batch, channels, height, width, channels last, kernel, strides, dilations, top, left (rows first).
static Window window_of(const int64_t* s) {
    return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12]};
}

void mass_max_pool(const float* x, float* out, const int64_t* shape, const int64_t* origin) {
    windows<Largest>(x, out, window_of(shape), origin, nullptr, nullptr, -std::numeric_limits<float>::infinity());
}

void mass_depthwise(const float* x, float* out, const int64_t* shape, const int64_t* origin, const float* weight, const float* bias) {
    windows<Multiply>(x, out, window_of(shape), origin, weight, bias, 0.0f);
}
}
