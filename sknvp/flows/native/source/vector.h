// Vectors of numbers that the processor handles at once, and the functions of them that the layers need.
//
// They are GCC's vector extensions, which clang knows too, so that the same source serves every processor. The width
// follows from the instructions that the compiler may use. NaN goes in and comes out, as in PyTorch.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>

#define INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

namespace {

constexpr int BLOCK = 128;  // This many rows pass together, so that their numbers stay in the nearest caches.

template <class T>
struct Format;

template <>
struct Format<float> {
  typedef float Vector __attribute__((vector_size(VECTOR_BYTES)));
  typedef int32_t Integers __attribute__((vector_size(VECTOR_BYTES)));
  typedef uint32_t Bits __attribute__((vector_size(VECTOR_BYTES)));
  using Word = uint32_t;
  static constexpr int MANTISSA = 23, BIAS = 127;
  static constexpr Word SQRT_HALF = 0x3f3504f3;
  static constexpr float SHIFT = 0x1.8p23f, LN2_HIGH = 0x1.62ep-1f, LN2_LOW = 0x1.0bfbe8p-15f;
  static constexpr float MIN_EXPONENT = -87.3f, MAX_EXPONENT = 88.3f, TINY = 0x1p-126f, HUGE_NUMBER = 0x1.fffffep127f;
  static constexpr int N_EXP = 7, N_LOG = 4;  // The accuracy of the format needs these numbers of terms.
};

template <>
struct Format<double> {
  typedef double Vector __attribute__((vector_size(VECTOR_BYTES)));
  typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
  typedef uint64_t Bits __attribute__((vector_size(VECTOR_BYTES)));
  using Word = uint64_t;
  static constexpr int MANTISSA = 52, BIAS = 1023;
  static constexpr Word SQRT_HALF = 0x3fe6a09e667f3bcd;
  static constexpr double SHIFT = 0x1.8p52, LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;
  static constexpr double MIN_EXPONENT = -708, MAX_EXPONENT = 709, TINY = 0x1p-1022, HUGE_NUMBER = 0x1.fffffffffffffp1023;
  static constexpr int N_EXP = 13, N_LOG = 10;
};

template <class T>
using Vector = typename Format<T>::Vector;
template <class T>
using Integers = typename Format<T>::Integers;
template <class T>
using Bits = typename Format<T>::Bits;

template <class T>
constexpr int LANES = VECTOR_BYTES / sizeof(T);

template <class T>
INLINE Vector<T> fill(T number) {
  return number - Vector<T>{};
}

template <class T>
INLINE Vector<T> load(const T* at) {
  return *(const Vector<T>*)at;
}

template <class T>
INLINE void store(T* at, Vector<T> x) {
  *(Vector<T>*)at = x;
}

template <class T>
INLINE Vector<T> clamp(Vector<T> x, T low, T high) {
  x = x < fill<T>(low) ? fill<T>(low) : x;
  return x > fill<T>(high) ? fill<T>(high) : x;
}

// Return the larger number, or NaN if b is NaN.
template <class T>
INLINE Vector<T> maximum(Vector<T> a, Vector<T> b) {
  return a > b ? a : b;
}

template <class T>
INLINE Vector<T> square_root(Vector<T> x) {
  Vector<T> root{};
  for (int i = 0; i < LANES<T>; i++) root[i] = std::sqrt(x[i]);  // Compilers turn this loop into one instruction.
  return root;
}

constexpr double INVERSE_FACTORIALS[] = {
    1.,         1.,          1. / 2,       1. / 6,        1. / 24,        1. / 120,        1. / 720,
    1. / 5040,  1. / 40320,  1. / 362880,  1. / 3628800,  1. / 39916800,  1. / 479001600,  1. / 6227020800,
};

// Compute exp(x) = 2^n exp(f) with a whole number n and |f| <= log(2) / 2. The result neither overflows nor underflows.
template <class T>
INLINE Vector<T> exponential(Vector<T> x) {
  using F = Format<T>;
  x = clamp<T>(x, F::MIN_EXPONENT, F::MAX_EXPONENT);
  Vector<T> shifted = x * T(1.4426950408889634) + F::SHIFT;  // The lowest bits hold n.
  Vector<T> n = shifted - F::SHIFT;
  Vector<T> f = (x - n * F::LN2_HIGH) - n * F::LN2_LOW;
  Vector<T> sum = fill<T>(T(INVERSE_FACTORIALS[F::N_EXP]));
#pragma GCC unroll 16
  for (int k = F::N_EXP - 1; k >= 0; k--) sum = sum * f + T(INVERSE_FACTORIALS[k]);
  return sum * (Vector<T>)(((Bits<T>)shifted + F::BIAS) << F::MANTISSA);
}

// Compute log(x) = k log(2) + log(m) with a whole number k, and m = (1 + s) / (1 - s) between sqrt(1/2) and sqrt(2).
// The result is NaN for a number that is not positive and normal.
template <class T>
INLINE Vector<T> logarithm(Vector<T> x) {
  using F = Format<T>;
  Bits<T> shifted = (Bits<T>)x + (((typename F::Word)F::BIAS << F::MANTISSA) - F::SQRT_HALF);
  Bits<T> power = shifted >> F::MANTISSA;
  Vector<T> k = (Vector<T>)(power + (Bits<T>)fill<T>(F::SHIFT)) - (F::SHIFT + F::BIAS);
  Vector<T> m = (Vector<T>)((Bits<T>)x - ((power - F::BIAS) << F::MANTISSA));
  Vector<T> s = (m - 1) / (m + 1), z = s * s;
  Vector<T> sum = fill<T>(T(2.0 / (2 * F::N_LOG + 1)));
#pragma GCC unroll 16
  for (int i = F::N_LOG - 1; i > 0; i--) sum = sum * z + T(2.0 / (2 * i + 1));
  Vector<T> result = k * F::LN2_HIGH + (2 * s + (s * z * sum + k * F::LN2_LOW));
  Integers<T> normal = (x >= fill<T>(F::TINY)) & (x <= fill<T>(F::HUGE_NUMBER));
  return normal ? result : fill<T>(T(NAN));
}

template <class T>
INLINE Vector<T> logistic(Vector<T> x) {
  return 1 / (1 + exponential<T>(-x));
}

// Return the factor r = 1 / sqrt(1 + (x / bound)^2) of the soft clip x r, whose slope is r^3.
template <class T>
INLINE Vector<T> soft_clip_factor(Vector<T> x, T bound) {
  return 1 / square_root<T>(1 + x * x * (1 / (bound * bound)));
}

// Compute the sum over the lanes of each of N vectors.
template <class T, int N>
INLINE void sum_lanes(T* sums, const Vector<T>* x) {
  for (int i = 0; i < N; i++) {
    T sum = 0;
    for (int lane = 0; lane < LANES<T>; lane++) sum += x[i][lane];
    sums[i] = sum;
  }
}

// Neighbours are added up twice. Then every quarter of a vector holds a part of all four sums.
#if VECTOR_BYTES == 64
#define EVEN 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define ODD 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#elif VECTOR_BYTES == 32
#define EVEN 0, 2, 8, 10, 4, 6, 12, 14
#define ODD 1, 3, 9, 11, 5, 7, 13, 15
#else
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#endif

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (Integers<float>){__VA_ARGS__})
#endif

INLINE Vector<float> sum_neighbours(Vector<float> a, Vector<float> b) {
  return SHUFFLE(a, b, EVEN) + SHUFFLE(a, b, ODD);
}

template <>
INLINE void sum_lanes<float, 4>(float* sums, const Vector<float>* x) {
  typedef float Quarter __attribute__((vector_size(16), aligned(4), may_alias));
  const Vector<float> parts = sum_neighbours(sum_neighbours(x[0], x[1]), sum_neighbours(x[2], x[3]));
  const Quarter* quarters = (const Quarter*)&parts;
  Quarter total = quarters[0];
#pragma GCC unroll 4
  for (int i = 1; i < LANES<float> / 4; i++) total += quarters[i];
  *(Quarter*)sums = total;
}

}  // namespace
