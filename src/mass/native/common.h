// What both files of kernels share. A map is a list of planes of height x width units: (B * C) planes of one element each
// where channels come first, B planes of C elements where they come last.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <omp.h>

namespace {

constexpr int64_t GRAIN = 1 << 15;  // bytes below which a thread is not worth waking

inline int threads_for(int64_t bytes) {
    return int(std::min<int64_t>(omp_get_max_threads(), std::max<int64_t>(1, bytes / GRAIN)));
}

}  // namespace
