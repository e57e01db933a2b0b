// Reductions of mass.native that are exact in any order: energies of sampling phases, means. Plain C functions on raw
// pointers, so that they build in seconds and against any PyTorch.

#include "common.h"

namespace {

// ---- energies -------------------------------------------------------------------------------------------------------

struct Half { uint16_t bits; };
struct Brain { uint16_t bits; };

inline float value(float x) { return x; }
inline double value(double x) { return x; }
inline float value(Brain x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
inline float value(Half x) {
    _Float16 y;
    std::memcpy(&y, &x.bits, 2);
    return float(y);
}

template <class T> struct Format;
template <> struct Format<float> { using Bits = uint32_t; static constexpr Bits infinite = 0x7f800000u; };
template <> struct Format<double> { using Bits = uint64_t; static constexpr Bits infinite = 0x7ff0000000000000ull; };
template <> struct Format<Half> { using Bits = uint16_t; static constexpr Bits infinite = 0x7c00u; };
template <> struct Format<Brain> { using Bits = uint16_t; static constexpr Bits infinite = 0x7f80u; };

// The largest magnitude, as its bits: they are ordered like the values, and a NaN or infinity shows.
template <class T> typename Format<T>::Bits largest_bits(const T* x, int64_t count) {
    using Bits = typename Format<T>::Bits;
    constexpr Bits magnitude = Bits(~Bits(0)) >> 1;
    const Bits* bits = reinterpret_cast<const Bits*>(x);
    constexpr int64_t lanes = 256 / sizeof(Bits);  // four vectors: more of memory is asked for at once
    Bits most[lanes] = {}, largest = 0;
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes)
        for (int64_t lane = 0; lane < lanes; lane++) most[lane] = std::max(most[lane], Bits(bits[i + lane] & magnitude));
    for (; i < count; i++) largest = std::max(largest, Bits(bits[i] & magnitude));
    for (Bits lane : most) largest = std::max(largest, lane);
    return largest;
}

template <class T, class Number> inline uint32_t energy(T x, Number scale) {
    const int32_t level = int32_t(std::rint(std::abs(value(x)) * scale));
    return uint32_t(level) * uint32_t(level);
}

// The energies of runs, element by element: three squares, each of 30 bits, fit an integer of 32.
template <class T> void add_energies(const T* const* runs, int64_t count, uint64_t* sums, int64_t length, double scale) {
    const auto factor = decltype(value(T()))(scale);
    int64_t r = 0;
    for (; r + 3 <= count; r += 3) {
        const T *a = runs[r], *b = runs[r + 1], *c = runs[r + 2];
        for (int64_t i = 0; i < length; i++) sums[i] += energy(a[i], factor) + energy(b[i], factor) + energy(c[i], factor);
    }
    for (; r < count; r++)
        for (int64_t i = 0; i < length; i++) sums[i] += energy(runs[r][i], factor);
}

struct Map {
    int64_t batch, channels, height, width, channels_last;
    int64_t period_h, period_w;
};

// One image is runs of consecutive elements over which the phases repeat: rows, or some pixels of a row. Where channels come
// last there is a set of runs for every phase of rows; they are taken set by set.
struct Runs {
    int64_t count, length, sets, per_row;
    int64_t per_set() const { return count / sets; }
    int64_t place(int64_t k) const {
        const int64_t within = k % per_set();
        return (within / per_row * sets + k / per_set()) * per_row + within % per_row;
    }
};

inline Runs runs_of(const Map& m) {
    const int64_t enough = 2048;
    if (m.channels_last) {
        int64_t pixels = m.width;
        while (pixels * m.channels > enough && pixels % 2 == 0 && (pixels / 2) % m.period_w == 0) pixels /= 2;
        if (pixels * m.channels > enough) pixels = m.period_w;
        return {m.height * (m.width / pixels), pixels * m.channels, m.period_h, m.width / pixels};
    }
    int64_t rows = m.height;
    while (rows * m.width > enough && rows % 2 == 0 && (rows / 2) % m.period_h == 0) rows /= 2;
    if (rows * m.width > enough) rows = m.period_h;
    return {m.channels * (m.height / rows), rows * m.width, 1, 1};
}

// The power of two that brings the largest magnitude into [2^14, 2^15); 0 where it counts as zero.
template <class T> double scale_of(typename Format<T>::Bits bits) {
    T largest;
    std::memcpy(&largest, &bits, sizeof(T));
    const double magnitude = double(value(largest));
    if (magnitude < std::ldexp(1.0, -100)) return 0.0;
    return std::ldexp(1.0, std::max(-1022, 14 - std::ilogb(magnitude)));
}

// Energies of runs [from, to) of one image, by phase, at the scale of their largest magnitude, or of `bits` if that is larger;
// the larger is returned. A few runs at a time are added at the scale of what was largest so far; if that rises, those
// before are added again at the end: one reading where the scale, a power of two, is found early, two at worst.
template <class T>
typename Format<T>::Bits phase_energies(const T* image, const Map& m, const Runs& runs, int64_t from, int64_t to,
                                        typename Format<T>::Bits bits, int64_t* total) {
    constexpr int64_t few = 6;
    std::vector<uint64_t> sums(runs.sets * runs.length, 0);
    double scale = scale_of<T>(bits);
    int64_t begin = from;  // what was added since the scale rose
    const T* some[few];
    const auto gather = [&](int64_t k, int64_t end) {
        const int64_t next = std::min({k + few, (k / runs.per_set() + 1) * runs.per_set(), end});
        for (int64_t i = k; i < next; i++) some[i - k] = image + runs.place(i) * runs.length;
        return next;
    };
    const auto add = [&](int64_t k, int64_t next) {
        add_energies(some, next - k, sums.data() + k / runs.per_set() * runs.length, runs.length, scale);
    };
    for (int64_t k = from, next; k < to; k = next) {
        next = gather(k, to);
        for (int64_t i = k; i < next; i++) bits = std::max(bits, largest_bits(some[i - k], runs.length));
        if (bits >= Format<T>::infinite) return bits;
        if (scale_of<T>(bits) != scale) {
            scale = scale_of<T>(bits);
            std::fill(sums.begin(), sums.end(), 0);
            begin = k;
        }
        add(k, next);
    }
    for (int64_t k = from, next; k < begin; k = next) {
        next = gather(k, begin);
        add(k, next);
    }
    std::fill(total, total + m.period_h * m.period_w, 0);
    for (int64_t set = 0; set < runs.sets; set++)
        for (int64_t i = 0; i < runs.length; i++) {
            const int64_t row = m.channels_last ? set : (i / m.width) % m.period_h;
            const int64_t column = (m.channels_last ? i / m.channels : i % m.width) % m.period_w;
            total[row * m.period_w + column] += int64_t(sums[set * runs.length + i]);
        }
    return bits;
}

// Threads take images, or, where these are few, parts of them; parts that saw less than the image's largest are added again.
template <class T> void energies(const T* x, const Map& m, int64_t* totals, uint8_t* finite) {
    using Bits = typename Format<T>::Bits;
    const int64_t size = m.channels * m.height * m.width, phases = m.period_h * m.period_w;
    const Runs runs = runs_of(m);
    const int threads = threads_for(m.batch * size * int64_t(sizeof(T)));
    const bool whole = m.batch >= threads && (m.batch % threads == 0 || m.batch >= 4 * threads);
    const int64_t parts = whole ? 1 : std::min<int64_t>(runs.count, threads), items = m.batch * parts;
    std::vector<int64_t> shares(whole ? 0 : items * phases);
    std::vector<Bits> largest(items, 0), top(m.batch, 0);
    const auto measure = [&](int64_t item, Bits bits) {
        const int64_t part = item % parts;
        return phase_energies(x + item / parts * size, m, runs, runs.count * part / parts, runs.count * (part + 1) / parts, bits,
                              (whole ? totals : shares.data()) + item * phases);
    };
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t item = 0; item < items; item++) largest[item] = measure(item, 0);
    for (int64_t item = 0; item < items; item++) top[item / parts] = std::max(top[item / parts], largest[item]);
    for (int64_t b = 0; b < m.batch; b++) finite[b] = top[b] < Format<T>::infinite;
    if (whole) return;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t item = 0; item < items; item++) {
        const Bits most = top[item / parts];
        if (most < Format<T>::infinite && scale_of<T>(most) != scale_of<T>(largest[item])) measure(item, most);
    }
    std::fill(totals, totals + m.batch * phases, 0);
    for (int64_t item = 0; item < items; item++)
        for (int64_t p = 0; p < phases; p++) totals[item / parts * phases + p] += shares[item * phases + p];
}

// ---- exact means ----------------------------------------------------------------------------------------------------

// The mean over a plane's positions, as integers of `bits` bits that add exactly (mass.functional.exact). False: not finite.
template <class T> bool exact_means(const T* x, T* out, int64_t batch, int64_t channels, int64_t area, bool channels_last, int64_t bits) {
    using Bits = typename Format<T>::Bits;
    using Number = decltype(value(T()));
    constexpr Bits magnitude = Bits(~Bits(0)) >> 1;
    constexpr int64_t block = 64;  // channels at once
    const int64_t blocks = (channels + block - 1) / block, step = channels_last ? channels : 1, plane = channels_last ? 1 : area;
    bool finite = true;
#pragma omp parallel for schedule(static) num_threads(threads_for(batch * channels * area * int64_t(sizeof(T)))) reduction(&& : finite)
    for (int64_t item = 0; item < batch * blocks; item++) {
        const int64_t b = item / blocks, first = item % blocks * block, count = std::min(block, channels - first);
        const T* image = x + b * channels * area + first * plane;
        Bits largest[block] = {};
        double scale[block], total[block] = {};
        if (channels_last) {
            for (int64_t n = 0; n < area; n++)
                for (int64_t c = 0; c < count; c++) {
                    Bits pattern;
                    std::memcpy(&pattern, image + n * step + c, sizeof(T));
                    largest[c] = std::max(largest[c], Bits(pattern & magnitude));
                }
        } else {
            for (int64_t c = 0; c < count; c++) largest[c] = largest_bits(image + c * plane, area);
        }
        for (int64_t c = 0; c < count; c++) {
            finite = finite && largest[c] < Format<T>::infinite;
            T most;
            std::memcpy(&most, &largest[c], sizeof(T));
            const double number = double(value(most));
            int64_t pattern;
            std::memcpy(&pattern, &number, 8);
            pattern = std::clamp<int64_t>(2 * 1023 + bits - 1 - (pattern >> 52), 1, 2046) << 52;
            std::memcpy(&scale[c], &pattern, 8);
        }
        if (channels_last) {
            for (int64_t n = 0; n < area; n++)
                for (int64_t c = 0; c < count; c++) total[c] += std::rint(double(value(image[n * step + c])) * scale[c]);
        } else {
            for (int64_t c = 0; c < count; c++) {
                double lanes[8] = {};
                const T* from = image + c * plane;
                int64_t n = 0;
                for (; n + 8 <= area; n += 8)
                    for (int lane = 0; lane < 8; lane++) lanes[lane] += std::rint(double(value(from[n + lane])) * scale[c]);
                for (; n < area; n++) lanes[0] += std::rint(double(value(from[n])) * scale[c]);
                for (double lane : lanes) total[c] += lane;
            }
        }
        for (int64_t c = 0; c < count; c++) out[b * channels + first + c] = T(Number(total[c] / scale[c] / double(area)));
    }
    return finite;
}

}  // namespace

extern "C" {

// Exact energies of all phases: x (batch, channels, height, width) -> totals (batch, period_h * period_w), and the place of
// the largest, origin (batch, 2). Marked in `undecided`, and counted: images with a NaN or an infinity, whose energies mean
// nothing, and those with several largest. kind: 0 float, 1 double, 2 bfloat16, 3 float16.
int64_t mass_origins(const void* x, int64_t kind, const int64_t* shape, int64_t* totals, int64_t* origin, uint8_t* undecided) {
    const Map m{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6]};
    const int64_t phases = m.period_h * m.period_w;
    std::vector<uint8_t> finite(m.batch);
    if (kind == 0) energies(static_cast<const float*>(x), m, totals, finite.data());
    if (kind == 1) energies(static_cast<const double*>(x), m, totals, finite.data());
    if (kind == 2) energies(static_cast<const Brain*>(x), m, totals, finite.data());
    if (kind == 3) energies(static_cast<const Half*>(x), m, totals, finite.data());
    int64_t count = 0;
    for (int64_t b = 0; b < m.batch; b++) {
        const int64_t *first = totals + b * phases, *best = std::max_element(first, first + phases);
        origin[2 * b] = (best - first) / m.period_w;
        origin[2 * b + 1] = (best - first) % m.period_w;
        undecided[b] = !finite[b] || std::count(first, first + phases, *best) > 1;
        count += undecided[b];
    }
    return count;
}

// x (batch, channels, area) or (batch, area, channels) -> out (batch, channels). kind: 0 float, 1 double. False: not finite.
int mass_exact_mean(const void* x, void* out, int64_t kind, const int64_t* s) {
    if (kind == 0) return exact_means(static_cast<const float*>(x), static_cast<float*>(out), s[0], s[1], s[2], s[3], s[4]);
    return exact_means(static_cast<const double*>(x), static_cast<double*>(out), s[0], s[1], s[2], s[3], s[4]);
}
}
