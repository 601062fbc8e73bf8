// Densities that stand beside flows: mixtures of normal distributions, and kernels. All of it in double precision.
#pragma once
#include "call.h"

namespace {

using Numbers = Vector<double>;
constexpr int N_POINTS = 24;  // The kernels of this many points are computed together.

// This structure holds the arguments of a call; `experts.py` declares its fields too. The numbers of tensors without
// steps lie together.
struct Expert {
  int64_t n_threads, n_members, n_rows, n_features, n_parts;  // The parts are components, or kernels.
  Columns z;
  const double *weights, *noise;  // The weights and the noise of the rows, for the expectation step.
  int64_t n_noise;                // The number of columns of noise.
  // The constants of the parts, which are coefficients for the expectation step, and sums for the maximization step.
  // The matrices are the P_k of a mixture, or the centres of kernels.
  const double *constants, *matrices;
  const double *shifts;           // The vectors -mu_k P_k of a mixture.
  double scale;                   // The number by which rows are multiplied, or the ridge.
  double *moments, *value;
};

INLINE Numbers exponential_or_zero(Numbers x) {
  return x < fill(Format<double>::MIN_EXPONENT) ? Numbers{} : exponential<double>(x);
}

INLINE Numbers zero_if_infinite(Numbers x) {
  Numbers size = x < Numbers{} ? -x : x;
  return size > fill(Format<double>::HUGE_NUMBER) ? Numbers{} : x;
}

// This structure holds sums of exponentials for each row of a block, relative to exp(largest). Rows lie side by side in
// memory, so that vectors run along them.
struct LogSums {
  alignas(64) double largest[BLOCK], sums[BLOCK];
  int length;

  explicit LogSums(int length) : length(length) {
    for (int row = 0; row < length; row++) {
      largest[row] = -INFINITY;
      sums[row] = 0;
    }
  }

  // Take account of n more numbers for each row. With KEEP, exponentials replace these numbers.
  template <bool KEEP>
  void add(double* x, int n) {
    alignas(64) double finite[BLOCK];
    for (int row = 0; row < length; row += LANES<double>) store<double>(finite + row, zero_if_infinite(load(largest + row)));
    for (int k = 0; k < n; k++)
      for (int row = 0; row < length; row += LANES<double>)
        store<double>(largest + row, maximum<double>(load(largest + row), load(x + (int64_t)k * length + row)));
    for (int row = 0; row < length; row += LANES<double>) {
      Numbers now = zero_if_infinite(load(largest + row));
      store<double>(sums + row, load(sums + row) * exponential_or_zero(load(finite + row) - now));
      store<double>(finite + row, now);
    }
    for (int k = 0; k < n; k++)
      for (int row = 0; row < length; row += LANES<double>) {
        double* at = x + (int64_t)k * length + row;
        Numbers density = exponential_or_zero(load(at) - load(finite + row));
        store<double>(sums + row, load(sums + row) + density);
        if (KEEP) store<double>(at, density);
      }
  }

  Numbers result(int row) const {
    Numbers sum = load(sums + row);
    return sum == Numbers{} ? fill(-(double)INFINITY) : logarithm<double>(sum) + zero_if_infinite(load(largest + row));
  }
};

// Compute the log-densities of a block of rows, of shape (n_features, length), under each component of a member.
void mixture_block(const Expert& call, int64_t member, const double* z, int length, double* joint, double* white) {
  const int d = (int)call.n_features;
  for (int64_t k = 0; k < call.n_parts; k++) {
    const int64_t part = member * call.n_parts + k;
    const double *matrix = call.matrices + part * d * d, *shift = call.shifts + part * d;
    double* own = joint + k * length;
    for (int i = 0; i < d; i += 6) {  // P_k is upper triangular, so z_j has no influence on outputs before j.
      int n = std::min(6, d - i);
      multiply<double>(white + (int64_t)i * length, {matrix + i, 1, d}, z, n, i + n, length, shift + i);
    }
    for (int row = 0; row < length; row += LANES<double>) {
      Numbers squares{};
      for (int i = 0; i < d; i++) squares += load(white + (int64_t)i * length + row) * load(white + (int64_t)i * length + row);
      store<double>(own + row, call.constants[part] - 0.5 * squares);
    }
  }
}

void keep_results(const Expert& call, int64_t member, int64_t first, int n, const LogSums& sums) {
  alignas(64) double results[BLOCK];
  for (int row = 0; row < sums.length; row += LANES<double>) store<double>(results + row, sums.result(row));
  copy(call.value + member * call.n_rows + first, results, n);
}

void mixture_log_prob(const Expert& call, int64_t member, Range rows, double* memory) {
  const int64_t d = call.n_features;
  double *z = memory, *white = z + d * BLOCK, *joint = white + d * BLOCK;
  for_each_block(rows, [&](int64_t first, int n) {
    LogSums sums(padded(n));
    fill_block(z, call.z, (int)member, (int)d, first, n);
    mixture_block(call, member, z, padded(n), joint, white);
    sums.add<false>(joint, (int)call.n_parts);
    keep_results(call, member, first, n, sums);
  });
}

// Compute the logarithm of sum_i exp(constant_i + scale point_i . z), for each row.
void kernels_log_sum(const Expert& call, int64_t member, Range rows, double* memory) {
  const int d = (int)call.n_features;
  double *z = memory, *products = z + d * BLOCK;
  const double *points = call.matrices + member * call.n_parts * d, *constants = call.constants + member * call.n_parts;
  for_each_block(rows, [&](int64_t first, int n) {
    LogSums sums(padded(n));
    fill_block(z, call.z, (int)member, d, first, n);
    for (int i = 0; i < d * padded(n); i++) z[i] *= call.scale;
    for (int64_t i = 0; i < call.n_parts; i += N_POINTS) {
      const int some = (int)std::min<int64_t>(N_POINTS, call.n_parts - i);
      multiply<double>(products, {points + i * d, d, 1}, z, some, d, padded(n), constants + i);
      sums.add<false>(products, some);
    }
    keep_results(call, member, first, n, sums);
  });
}

// Write 1, every z_i, z_i z_j for i <= j, and the noise of some rows below each other.
void monomials(const Expert& call, int64_t member, const int64_t* rows, int n, double* out) {
  const int64_t d = call.n_features, length = padded(n);
  const double* start = (const double*)call.z.start + member * call.z.member_step;
  double *columns = out + length, *next = columns + d * length;
  for (int64_t row = 0; row < length; row++) {
    const double* z = start + (row < n ? rows[row] : 0) * d;
    out[row] = 1;
    for (int64_t i = 0; i < d; i++) columns[i * length + row] = row < n ? z[i] : 0;
  }
  for (int64_t i = 0; i < d; i++)
    for (int64_t j = i; j < d; j++, next += length)
      for (int64_t row = 0; row < length; row++) next[row] = columns[i * length + row] * columns[j * length + row];
  for (int64_t i = 0; i < call.n_noise; i++, next += length)
    for (int64_t row = 0; row < length; row++) next[row] = row < n ? call.noise[rows[row] * call.n_noise + i] : 0;
}

// Turn joint log-densities into shares times the weights of the rows, and return the weighted log-likelihood.
double share_out(double* joint, int n_parts, const double* weights, int length) {
  LogSums sums(length);
  sums.add<true>(joint, n_parts);
  alignas(64) double factors[BLOCK];
  Numbers log_likelihood{};
  for (int row = 0; row < length; row += LANES<double>) {
    log_likelihood += load(weights + row) * sums.result(row);
    store<double>(factors + row, load(weights + row) / load(sums.sums + row));
  }
  for (int k = 0; k < n_parts; k++)
    for (int row = 0; row < length; row += LANES<double>) {
      double* at = joint + (int64_t)k * length + row;
      store<double>(at, load(at) * load(factors + row));
    }
  double total;
  sum_lanes<double, 1>(&total, &log_likelihood);
  return total;
}

// Take the expectation step: sum up monomials over the rows of each component, which count by their weights.
void expect(const Expert& call, int64_t member, double* memory) {
  const int64_t d = call.n_features, n_monomials = (d + 1) * (d + 2) / 2, n_sums = n_monomials + call.n_noise;
  const int n_parts = (int)call.n_parts;
  const double *all_weights = call.weights + member * call.n_rows, *coefficients = call.constants + member * n_parts * n_monomials;
  double *summed = memory, *joint = summed + n_sums * BLOCK, *moments = call.moments + member * n_parts * n_sums;
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < call.n_rows; row++)
    if (all_weights[row] != 0) rows.push_back(row);
  call.value[member] = 0;
  for_each_block({0, (int64_t)rows.size()}, [&](int64_t first, int n) {
    alignas(64) double weights[BLOCK] = {};
    for (int row = 0; row < n; row++) weights[row] = all_weights[rows[first + row]];
    monomials(call, member, rows.data() + first, n, summed);
    multiply<double>(joint, {coefficients, n_monomials, 1}, summed, n_parts, (int)n_monomials, padded(n));
    call.value[member] += share_out(joint, n_parts, weights, padded(n));
    outer<double>(moments, joint, summed, n_parts, (int)n_sums, padded(n), first > 0);
  });
}

}  // namespace
