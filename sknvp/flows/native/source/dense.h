// Products of matrices. In a matrix of features by rows, the numbers of a feature lie side by side in memory, and the
// number of rows is a multiple of what two vectors hold. So vectors run along the rows.
#pragma once
#include "vector.h"

namespace {

// This structure is a matrix of weights, or its transpose.
template <class T>
struct Weights {
  const T* at;
  int64_t row_step, column_step;

  INLINE T operator()(int row, int column) const { return at[row * row_step + column * column_step]; }
  INLINE Weights below(int row) const { return {at + row * row_step, row_step, column_step}; }
};

// Compute N outputs for two vectors of rows.
template <class T, int N>
INLINE void multiply_block(T* y, Weights<T> weights, const T* x, int n_inputs, int n_rows, const T* bias) {
  Vector<T> sums[N][2];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) sums[i][0] = sums[i][1] = bias ? fill<T>(bias[i]) : Vector<T>{};
  for (int k = 0; k < n_inputs; k++) {
    Vector<T> first = load(x + (int64_t)k * n_rows), second = load(x + (int64_t)k * n_rows + LANES<T>);
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
      Vector<T> weight = fill<T>(weights(i, k));
      sums[i][0] += weight * first;
      sums[i][1] += weight * second;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) {
    store(y + (int64_t)i * n_rows, sums[i][0]);
    store(y + (int64_t)i * n_rows + LANES<T>, sums[i][1]);
  }
}

template <class T, int N>
void multiply_outputs(T* y, Weights<T> weights, const T* x, int n_inputs, int n_rows, const T* bias) {
  for (int row = 0; row < n_rows; row += 2 * LANES<T>)
    multiply_block<T, N>(y + row, weights, x + row, n_inputs, n_rows, bias);
}

// Compute y = weights x + bias, with y of shape (n_outputs, n_rows) and x of shape (n_inputs, n_rows).
template <class T>
void multiply(T* y, Weights<T> weights, const T* x, int n_outputs, int n_inputs, int n_rows, const T* bias = nullptr) {
  for (int i = 0; i < n_outputs; i += 6) {
    T* place = y + (int64_t)i * n_rows;
    const T* shift = bias ? bias + i : nullptr;
    switch (n_outputs - i) {
      case 1: multiply_outputs<T, 1>(place, weights.below(i), x, n_inputs, n_rows, shift); break;
      case 2: multiply_outputs<T, 2>(place, weights.below(i), x, n_inputs, n_rows, shift); break;
      case 3: multiply_outputs<T, 3>(place, weights.below(i), x, n_inputs, n_rows, shift); break;
      case 4: multiply_outputs<T, 4>(place, weights.below(i), x, n_inputs, n_rows, shift); break;
      case 5: multiply_outputs<T, 5>(place, weights.below(i), x, n_inputs, n_rows, shift); break;
      default: multiply_outputs<T, 6>(place, weights.below(i), x, n_inputs, n_rows, shift);
    }
  }
}

// Compute N times K sums over the rows, of products of gradients and inputs.
template <class T, int N, int K>
INLINE void outer_block(T* out, int64_t step, const T* grad, const T* x, int n_rows, bool add) {
  Vector<T> sums[N][K] = {};
  for (int row = 0; row < n_rows; row += LANES<T>) {
    Vector<T> inputs[K];
#pragma GCC unroll 4
    for (int k = 0; k < K; k++) inputs[k] = load(x + (int64_t)k * n_rows + row);
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
      Vector<T> of_output = load(grad + (int64_t)i * n_rows + row);
#pragma GCC unroll 4
      for (int k = 0; k < K; k++) sums[i][k] += of_output * inputs[k];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) {
    T totals[K];
    sum_lanes<T, K>(totals, sums[i]);
    for (int k = 0; k < K; k++) out[i * step + k] = add ? out[i * step + k] + totals[k] : totals[k];
  }
}

template <class T, int N>
void outer_outputs(T* out, const T* grad, const T* x, int n_inputs, int n_rows, bool add) {
  int k = 0;
  for (; k + 4 <= n_inputs; k += 4) outer_block<T, N, 4>(out + k, n_inputs, grad, x + (int64_t)k * n_rows, n_rows, add);
  for (; k < n_inputs; k++) outer_block<T, N, 1>(out + k, n_inputs, grad, x + (int64_t)k * n_rows, n_rows, add);
}

// Compute the gradient of the weights: out = grad x^T, or out += grad x^T, with out of shape (n_outputs, n_inputs).
template <class T>
void outer(T* out, const T* grad, const T* x, int n_outputs, int n_inputs, int n_rows, bool add) {
  constexpr int N = VECTOR_BYTES == 64 ? 6 : 3;  // Processors with longer vectors have more registers for them.
  int i = 0;
  for (; i + N <= n_outputs; i += N)
    outer_outputs<T, N>(out + (int64_t)i * n_inputs, grad + (int64_t)i * n_rows, x, n_inputs, n_rows, add);
  for (; i < n_outputs; i++)
    outer_outputs<T, 1>(out + (int64_t)i * n_inputs, grad + (int64_t)i * n_rows, x, n_inputs, n_rows, add);
}

// Compute the gradient of the bias, which is the sum over the rows for each output.
template <class T>
void sum_rows(T* out, const T* grad, int n_outputs, int n_rows, bool add) {
  for (int i = 0; i < n_outputs; i++) {
    Vector<T> sum{};
    for (int row = 0; row < n_rows; row += LANES<T>) sum += load(grad + (int64_t)i * n_rows + row);
    T total;
    sum_lanes<T, 1>(&total, &sum);
    out[i] = add ? out[i] + total : total;
  }
}

}  // namespace
