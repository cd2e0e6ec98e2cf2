// The functions of the encoder on 16 lanes. Every instruction set takes the same steps in the same order, so that each
// result has the same bits everywhere: fused multiply-add where `fma` stands, and nowhere else.
#pragma once

#include "arguments.h"

namespace embedge {
namespace {

// 2^x for -30 <= x <= 30, relative error below 3.2e-6; a smaller x counts as -30.
// 2^f with |f| <= 1/2 is a polynomial of degree 4 (minimax, 2.9e-6), with 2^0 = 1 exactly.
template <class V>
typename V::F power_of_two(typename V::F x) {
  x = V::max(x, V::set(-30.0f));
  const typename V::Whole whole = V::whole(x);
  const typename V::F f = V::fraction(x, whole);
  typename V::F y = V::set(0.009582853f);
  y = V::fma(y, f, V::set(0.055906426f));
  y = V::fma(y, f, V::set(0.24024099f));
  y = V::fma(y, f, V::set(0.6931242f));
  y = V::fma(y, f, V::set(1.0f));
  return V::times_power_of_two(y, whole);
}

// tanh(x) = (1 - e) / (1 + e) with e = 2^(-2 |x| log2(e)), and the sign of x; absolute error below 4e-6.
template <class V>
typename V::F tanh(typename V::F x) {
  const typename V::F e = power_of_two<V>(V::mul(V::abs(x), V::set(-2.88539008f)));
  const typename V::F y = V::div(V::sub(V::set(1.0f), e), V::add(V::set(1.0f), e));
  return V::with_sign_of(y, x);
}

// x / 2 * (1 + erf(x / sqrt(2))), absolute error below 1.1e-6.
// erf(z) = z * p(z^2) for |z| <= 3.7, beyond which erf is +-1 within 1.7e-7. p is a polynomial of degree 13 in
// u = 2 z^2 / 3.7^2 - 1, fitted to the least largest error of erf (Lawson's iteration).
template <class V>
typename V::F gelu(typename V::F x) {
  constexpr float kEdge = 3.7f;
  const typename V::F z =
      V::min(V::max(V::mul(x, V::set(0.70710678f)), V::set(-kEdge)), V::set(kEdge));
  const typename V::F u = V::fma(V::mul(V::set(0.14609204f), z), z, V::set(-1.0f));
  typename V::F p = V::set(-0.0015046014450490475f);
  constexpr float kCoefficients[] = {0.003927383106201887f,  -0.003647563513368368f, 0.0052233049646019936f,
                                     -0.01415143720805645f,  0.025146067142486572f,  -0.036200400441884995f,
                                     0.051475394517183304f,  -0.07043659687042236f,  0.09062487632036209f,
                                     -0.11264556646347046f,  0.14078953862190247f,   -0.1904677301645279f,
                                     0.3821375370025635f};
#pragma GCC unroll 13
  for (const float coefficient : kCoefficients) p = V::fma(p, u, V::set(coefficient));
  const typename V::F half = V::mul(x, V::set(0.5f));
  return V::fma(half, V::mul(p, z), half);
}

// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
template <class V>
typename V::F gelu_tanh(typename V::F x) {
  const typename V::F cube = V::mul(V::mul(x, x), x);
  const typename V::F inner = V::mul(V::fma(cube, V::set(0.044715f), x), V::set(0.79788456f));
  const typename V::F half = V::mul(x, V::set(0.5f));
  return V::fma(half, tanh<V>(inner), half);
}

template <class V>
typename V::F activate(typename V::F x, Activation activation) {
  if (activation == Activation::kGelu) return gelu<V>(x);
  if (activation == Activation::kGeluTanh) return gelu_tanh<V>(x);
  return V::max(x, V::set(0.0f));
}

}  // namespace
}  // namespace embedge
